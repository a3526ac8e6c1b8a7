//! Records whose owner is not known yet. They are tried again a few times a second, and for the
//! last time when their patience is over. Their offsets stay open, so a crash loses none.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::{
    message::InHand,
    offsets::{Offsets, Partition},
};

/// The most memory that waiting records may take before their partitions pause.
const MOST_BYTES: usize = 64 << 20;

/// The waiting records, oldest first.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    records: Vec<InHand<'static>>,
    bytes: usize,
    /// Those that are being tried right now.
    away: usize,
    patience: Duration,
    limit: usize,
}

impl WaitingRoom {
    /// A room in which a record waits for `patience`, and about `limit` of them.
    pub(super) fn new(patience: Duration, limit: usize) -> Self {
        Self { records: Vec::new(), bytes: 0, away: 0, patience, limit }
    }

    pub(super) fn admit(&mut self, record: InHand<'_>) {
        self.bytes += record.size();
        self.records.push(record.detach());
    }

    /// Everything that waits, to be tried again; nothing while the last try is under way. Those
    /// whose partition has been taken away are dropped: its new owner reads them.
    pub(super) fn leave(&mut self, offsets: &Offsets, now: Instant) -> Vec<InHand<'static>> {
        if self.away > 0 {
            return Vec::new();
        }
        let mut records = std::mem::take(&mut self.records);
        records.retain(|r| offsets.is_valid(r.topic(), r.partition(), r.lease));
        for record in &mut records {
            record.out_of_patience = now.duration_since(record.since) >= self.patience;
        }
        self.bytes = 0;
        self.away = records.len();
        records
    }

    /// Notes that this many have been tried; those without success were admitted again.
    pub(super) fn returned(&mut self, tried: usize) {
        self.away -= tried;
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.records.len() + self.away
    }

    /// The partitions to pause: those of the waiting records once there are too many of them.
    pub(super) fn to_pause(&self) -> Option<BTreeSet<Partition>> {
        let full = self.len() >= self.limit || self.bytes >= MOST_BYTES;
        // While they are being tried it is not known which remain; nothing changes then.
        (self.away == 0).then(|| {
            let causing = self.records.iter().filter(|_| full);
            causing.map(|r| (r.topic().to_owned(), r.partition())).collect()
        })
    }
}
