//! Records whose owner is not known yet. They are tried again a few times a second, and for the
//! last time when their patience is over. Their offsets stay open, so a crash loses none.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    offsets::{Offsets, Partition},
    record::InHand,
};

/// The most memory that waiting records may take before their partitions pause.
const MOST_BYTES: usize = 64 << 20;

/// The waiting records, oldest first. They are tried in rounds, a few at a time, so that others
/// get their turn in between.
#[derive(Debug)]
pub(crate) struct WaitingRoom {
    records: VecDeque<InHand<'static>>,
    bytes: usize,
    /// How many of the first are still to be tried in this round.
    due: usize,
    /// How many are being tried right now.
    away: usize,
    patience: Duration,
    limit: usize,
}

impl WaitingRoom {
    /// A room in which a record waits for `patience`, and about `limit` of them.
    pub(crate) fn new(patience: Duration, limit: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, due: 0, away: 0, patience, limit }
    }

    pub(crate) fn admit(&mut self, record: InHand<'_>) {
        self.bytes += record.size();
        self.records.push_back(record.detach());
    }

    /// Begins a round with everything that waits, unless the last one is still under way.
    pub(crate) fn begin_round(&mut self) {
        if !self.is_in_round() {
            self.due = self.records.len();
        }
    }

    fn is_in_round(&self) -> bool {
        self.due > 0 || self.away > 0
    }

    /// The next few of the round, to be tried again. Those whose partition has been taken away
    /// are dropped: its new owner reads them.
    pub(crate) fn next_due(
        &mut self,
        most: usize,
        offsets: &Offsets,
        now: Instant,
    ) -> Vec<InHand<'static>> {
        let count = self.due.min(most);
        self.due -= count;
        let mut records: Vec<_> = self.records.drain(..count).collect();
        self.bytes -= records.iter().map(InHand::size).sum::<usize>();
        records.retain(|r| offsets.is_valid(r.topic(), r.partition(), r.lease));
        for record in &mut records {
            record.wait_expired = now.duration_since(record.since) >= self.patience;
        }
        self.away += records.len();
        records
    }

    /// Notes that this many have been tried; those without success were admitted again.
    pub(crate) fn returned(&mut self, tried: usize) {
        self.away -= tried;
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.records.len() + self.away
    }

    /// The partitions to pause: those of the waiting records once there are too many of them.
    pub(crate) fn to_pause(&self) -> Option<BTreeSet<Partition>> {
        let full = self.len() >= self.limit || self.bytes >= MOST_BYTES;
        // In mid-round it is not known which remain; nothing changes then.
        (!self.is_in_round()).then(|| {
            let causing = self.records.iter().filter(|_| full);
            causing.map(|r| (r.topic().to_owned(), r.partition())).collect()
        })
    }
}
