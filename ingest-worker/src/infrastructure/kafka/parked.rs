//! Records that cannot be finished now. A parked record holds up only the records that share an
//! ordering key with it; those park behind it. The first of each key is retried with a back-off of
//! its own, the others once nothing before them is parked. Their offsets stay unfinished, so a
//! crash loses none.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use shared::backoff::Backoff;
use tokio::time::Instant;

use super::{
    offsets::{Offsets, Partition},
    record::{OwnedRecord, ParkState},
};
use crate::domain::{
    ordering::{HeldKeys, OrderingKey},
    recipients::OwnedEntity,
    record::{ParkReason, Parking},
};

/// Delays between attempts at one record. The maximum is how much later than possible an event may
/// be published after its owner became known at another worker.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));

/// The parked records. Bounded by their user, who stops reading while there are too many.
#[derive(Debug)]
pub(crate) struct ParkedRecords {
    /// By number in the order of reading.
    records: HashMap<u64, OwnedRecord>,
    held: Arc<HeldKeys>,
    /// The records that no other one blocks, by the time of their next attempt.
    due: BTreeSet<(Instant, u64)>,
    bytes: usize,
    next_order: u64,
    owner_wait: Duration,
    /// The total time in which nothing could be published.
    outages: Duration,
}

impl ParkedRecords {
    /// Nothing is parked; `owner_wait` is how long an owner may stay unknown.
    pub(crate) fn new(owner_wait: Duration) -> Self {
        Self {
            records: HashMap::new(),
            held: Arc::default(),
            due: BTreeSet::new(),
            bytes: 0,
            next_order: 0,
            owner_wait,
            outages: Duration::ZERO,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the keys that parked records hold.
    pub(crate) fn held(&self) -> Arc<HeldKeys> {
        Arc::clone(&self.held)
    }

    /// Returns the partitions of parked records.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.records.values().map(|record| (record.topic().to_owned(), record.partition()))
    }

    /// Parks a record, or parks it again after an attempt that failed.
    pub(crate) fn park(&mut self, mut record: OwnedRecord, parking: Parking, now: Instant) {
        let state = self.state(record.state.parked.take(), parking, now);
        let order = state.order;
        // Records that were at the head of a key are now behind this one.
        for first in state.keys.iter().filter_map(|key| self.held.first(key)) {
            if let Some(parked) = self.records.get(&first).filter(|_| first > order) {
                self.due.remove(&(retry_at(parked), first));
            }
        }
        Arc::make_mut(&mut self.held).hold(&state.keys, order);
        if !self.held.blocks(&state.keys, order) {
            self.due.insert((state.retry_at, order));
        }
        record.state.parked = Some(Box::new(state));
        self.bytes += record.memory();
        self.records.insert(order, record);
    }

    fn state(
        &mut self,
        before: Option<Box<ParkState>>,
        Parking { reason, keys, .. }: Parking,
        now: Instant,
    ) -> ParkState {
        let outages_before = before.as_ref().map_or(self.outages, |before| before.outages_before);
        let (order, mut held, mut backoff) = match before {
            // It keeps its order, and the recipient that an earlier attempt has resolved.
            Some(before) if before.reason == reason => (before.order, before.keys, before.backoff),
            Some(before) => (before.order, before.keys, BACKOFF),
            None => {
                self.next_order += 1;
                (self.next_order, Vec::new(), BACKOFF)
            }
        };
        for key in keys {
            if !held.contains(&key) {
                held.push(key);
            }
        }
        // A record behind another one has not been tried; it need not wait once that one is gone.
        let delay = if reason == ParkReason::Order { Duration::ZERO } else { backoff.next_delay() };
        let retry_at = now + delay;
        ParkState {
            order,
            reason,
            keys: held,
            backoff,
            retry_at,
            outages_before,
            wait_expired: false,
        }
    }

    /// Returns when the next attempt is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(retry_at, _)| *retry_at)
    }

    /// Removes up to `max` records that are due, in the order of reading. A record counts as due
    /// when all records before it with one of its keys are taken along.
    pub(crate) fn take_due(&mut self, max: usize, now: Instant) -> Vec<OwnedRecord> {
        let mut records = Vec::new();
        while records.len() < max
            && let Some((retry_at, order)) = self.due.first().copied()
            && retry_at <= now
        {
            let Some(mut record) = self.remove(order) else { break };
            let waited = now.duration_since(record.state.since);
            if let Some(parked) = &mut record.state.parked {
                let outage = self.outages.saturating_sub(parked.outages_before);
                parked.wait_expired = waited >= self.owner_wait.saturating_add(outage);
            }
            records.push(record);
        }
        records.sort_unstable_by_key(|r| r.state.parked.as_ref().map(|parked| parked.order));
        records
    }

    /// Extends the waits of all records that were parked before, also of those in delivery, by an
    /// outage: the record that names an owner may be read, but could not be processed.
    pub(crate) fn extend_waits(&mut self, outage: Duration) {
        self.outages += outage;
    }

    /// Makes the records that wait for the owners of these entities due now.
    pub(crate) fn owners_learned(&mut self, entities: &[OwnedEntity], now: Instant) {
        for entity in entities {
            let first = self.held.first(&OrderingKey::Entity(entity.clone()));
            let Some((order, record)) =
                first.and_then(|order| self.records.get_mut(&order).map(|record| (order, record)))
            else {
                continue;
            };
            let Some(parked) = &mut record.state.parked else { continue };
            if parked.reason == ParkReason::OwnerUnknown
                && self.due.remove(&(parked.retry_at, order))
            {
                parked.retry_at = now;
                self.due.insert((now, order));
            }
        }
    }

    /// Removes the records whose partitions were revoked; returns the reason of each.
    pub(crate) fn drop_revoked(&mut self, offsets: &Offsets) -> Vec<ParkReason> {
        let is_revoked = |record: &OwnedRecord| {
            !offsets.is_current(record.topic(), record.partition(), record.state.id)
        };
        let revoked = self.records.iter().filter(|(_, record)| is_revoked(record));
        let revoked: Vec<u64> = revoked.map(|(order, _)| *order).collect();
        let removed = revoked.into_iter().filter_map(|order| self.remove(order));
        let parked: Vec<_> = removed.filter_map(|record| record.state.parked).collect();
        parked.iter().map(|parked| parked.reason).collect()
    }

    /// Removes a record; those that it alone has blocked become due.
    fn remove(&mut self, order: u64) -> Option<OwnedRecord> {
        let record = self.records.remove(&order)?;
        self.bytes -= record.memory();
        let state = record.state.parked.as_deref()?;
        self.due.remove(&(state.retry_at, order));
        Arc::make_mut(&mut self.held).release(&state.keys, order);
        for next in state.keys.iter().filter_map(|key| self.held.first(key)) {
            let Some(parked) = self.records.get(&next) else { continue };
            let keys = parked.state.parked.as_ref().map_or(&[][..], |parked| &parked.keys);
            if !self.held.blocks(keys, next) {
                self.due.insert((retry_at(parked), next));
            }
        }
        Some(record)
    }
}

fn retry_at(record: &OwnedRecord) -> Instant {
    record.state.parked.as_ref().map_or(record.state.since, |parked| parked.retry_at)
}

#[cfg(test)]
mod tests;
