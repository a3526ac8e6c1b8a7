//! What Redis and Kafka have lost, and what is restored of it.

use std::collections::BTreeSet;

use ingest_worker::worker::pipeline::{Partition, RewindTo};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    OWNERS, Oracle,
    state::{Entry, EventState, Lost, RESTORED_WITHIN, State, user_of_history},
};

impl Oracle {
    /// Marks what was published since as lost, and with it the claims; returns how many.
    pub(crate) fn lost_after(&self, published: usize) -> usize {
        let state = &mut *self.state();
        let mut lost = 0;
        for (user, index) in &state.published[published..] {
            let Some(entries) = state.entries.get_mut(user) else { continue };
            let Some(entry) = entries.get_mut(*index) else { continue };
            lost += usize::from(!std::mem::replace(&mut entry.is_lost, true));
            self.recorder.trace(format_args!("lost {} of {user}", entry.id));
            let lost_event = entry.event;
            if let Some(event) = state.events.get_mut(&lost_event) {
                // It was published before, and again after its claim was overwritten or evicted.
                let survives = |entry: &Entry| entry.event == lost_event && !entry.is_lost;
                event.is_claimed = false;
                event.is_lost = !entries.iter().any(survives);
            }
        }
        lost
    }

    /// Returns an event that Redis has lost and that is not restored, although Kafka has it.
    pub(crate) fn not_restored(&self) -> Option<String> {
        let state = self.state();
        let has_record = |(partition, offset): &(Partition, i64)| {
            state.record(partition, *offset).is_some_and(|record| !record.is_deleted)
        };
        let (_, lost) = state.events.iter().find(|(id, event)| {
            let has_recipient = event.event.names_user || !state.owners_lost;
            let has_record = event.copies.iter().all(has_record);
            // A flush takes all owners.
            let is_flushed = event.event.names_user && state.silent.contains(id);
            let is_lost = event.is_lost || is_flushed;
            is_lost && !event.is_claimed && has_recipient && has_record
        })?;
        Some(format!("{:?} is lost and not restored", lost.event))
    }

    pub(crate) fn all_keys_lost(&self) {
        let mut state = self.state();
        let is_restored = state.lose_keys(true);
        let State { events, committed, silent, forgotten, owners, rewound_at, .. } = &mut *state;
        // What a rewind to an offset publishes again may be lost before it is done.
        let is_restored_now = |(partition, _): &(Partition, i64)| {
            rewound_at.get(partition).is_some_and(|at| at.elapsed() <= RESTORED_WITHIN)
        };
        for (id, event) in events {
            event.is_claimed = false;
            if event.is_lost && !is_restored {
                forgotten.insert(*id);
            }
            let is_committed = |(partition, offset): &(Partition, i64)| {
                committed.get(partition).is_some_and(|next| offset < next)
            };
            let is_finished = event.was_published && event.copies.iter().all(is_committed);
            if is_restored && is_finished && !event.copies.iter().any(is_restored_now) {
                silent.insert(*id);
            }
        }
        owners.clear();
        state.lose_read_states();
    }

    /// Takes how long ago a worker that rewinds a partition knew, or believes, that Redis had its
    /// data. One that was assigned the partition after a loss, and finds no time since when Redis has
    /// data, takes everything that exists by then for what has survived, and publishes what is
    /// missing there. Other workers then see that the history of the user has survived.
    pub(crate) fn rewound(&self, partition: &Partition, to: RewindTo, intact_ms_ago: u64) {
        let State { silent, events, keys_lost_at, unmarked_since_loss, rewound_at, .. } =
            &mut *self.state();
        let lost_ms_ago = keys_lost_at.map_or(u128::MAX, |at| at.elapsed().as_millis());
        if let RewindTo::Offset { from, .. } = to {
            rewound_at.insert(partition.clone(), Instant::now());
            if u128::from(intact_ms_ago) > lost_ms_ago {
                // The reply that shows it is from before all keys were lost.
                let from = to.silent_until().unwrap_or(from);
                let is_published =
                    |(of_copy, offset): &(Partition, i64)| of_copy == partition && *offset >= from;
                silent.retain(|event| !events[event].copies.iter().any(is_published));
            }
        }
        let unmarked_ms_ago = unmarked_since_loss.map_or(0, |at| at.elapsed().as_millis());
        if u128::from(intact_ms_ago) < unmarked_ms_ago {
            let is_of_partition =
                |event: &&EventState| event.copies.iter().any(|(of_copy, _)| of_copy == partition);
            let users: BTreeSet<&str> =
                events.values().filter(is_of_partition).map(|event| &*event.event.user).collect();
            silent.retain(|event| !users.contains(&*events[event].event.user));
        }
    }

    /// Notes that something is published, on a server that may hold since when it has data.
    pub(super) fn note_mark(&self, is_marked: bool) {
        if !is_marked {
            self.state().unmarked_since_loss.get_or_insert_with(Instant::now);
        }
    }

    /// Notes a failover.
    pub(crate) fn all_owners_lost(&self) {
        let mut state = self.state();
        state.lose_keys(false);
        state.cursors.clear();
        state.owners.clear();
    }

    /// Notes that Redis has lost a key.
    pub(crate) fn key_lost(&self, key: &str) {
        self.state().lose_keys(false);
        if let Some(user) = user_of_history(key) {
            self.state().lose_read_state(user, Lost::Some);
        }
        if let Some(batch) = key.strip_prefix(OWNERS) {
            let mut state = self.state();
            state.owners.remove(batch);
            state.owners_lost = true;
        }
        let Some((_, identity)) =
            key.strip_prefix("ws:seen:{").and_then(|key| key.split_once("}:"))
        else {
            return;
        };
        let event = identity.split(':').next().and_then(|id| id.parse::<Uuid>().ok());
        let mut state = self.state();
        let Some(event) = event.map(|event| event.as_u128()) else { return };
        state.unclaimed.insert(event);
        if let Some(event) = state.events.get_mut(&event) {
            event.is_claimed = false;
        }
    }

    /// Notes that Kafka has lost what was committed in a partition. If Redis has no watermark of it
    /// either, no worker can tell which of its records were finished.
    pub(crate) fn offset_expired(&self, partition: &Partition, has_watermark: bool) {
        let State { silent, events, committed, .. } = &mut *self.state();
        committed.remove(partition);
        if !has_watermark {
            let is_of_partition = |(of_copy, _): &(Partition, i64)| of_copy == partition;
            silent.retain(|event| !events[event].copies.iter().any(is_of_partition));
        }
    }
}
