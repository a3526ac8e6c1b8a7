//! What must hold. The oracle knows every record that was produced, everything that Redis has
//! stored and lost, and everything that clients have received.

mod clients;
mod filter;
mod read_state;
mod state;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use ingest_worker::worker::pipeline::{Partition, RewindTo};
use serde_json::Value;
use shared::keys::FOR_GATEWAYS;
use tokio::time::Instant;
use uuid::Uuid;
use ws_gateway::protocol::READ_STATE_EVENT;

use crate::recorder::Recorder;
pub(crate) use filter::Filter;
use state::{Entry, EventState, Lost, RESTORED_WITHIN, Record, State, user_of_history};
pub(crate) use state::{Event, Expected, batch_id};

/// The prefix of the keys that hold the owners of batches.
const OWNERS: &str = "ws:owner:batch:";

pub(crate) struct Oracle {
    state: Mutex<State>,
    recorder: Arc<Recorder>,
    /// How long the worker waits for the owner of a batch.
    owner_wait: Duration,
}

impl Oracle {
    /// An oracle that reports violations to `recorder`.
    pub(crate) fn new(recorder: Arc<Recorder>, owner_wait: Duration) -> Self {
        Self { state: Mutex::default(), recorder, owner_wait }
    }

    pub(crate) fn produced(&self, partition: &Partition, expected: Expected) {
        let mut state = self.state();
        let records = state.records.entry(partition.clone()).or_default();
        let offset = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let produced_at = Instant::now();
        records.push(Record { expected: expected.clone(), produced_at, is_deleted: false });
        if let Expected::Notification(event) = expected {
            let (copies, id) = (Vec::new(), event.id);
            let new = EventState {
                event,
                copies,
                was_published: false,
                is_claimed: false,
                is_lost: false,
            };
            let known = state.events.entry(id).or_insert(new);
            known.copies.push((partition.clone(), offset));
        }
    }

    /// Takes a message that a script has published on a user's channel. A call that is late may be
    /// from before all keys were lost.
    pub(crate) fn published(&self, channel: &str, message: &[u8], is_late: bool) {
        self.appended(channel, message, false, is_late);
    }

    /// Takes a message that a script has added to a user's history only.
    pub(crate) fn stored(&self, channel: &str, message: &[u8]) {
        self.recorder.reach("a history was rebuilt");
        self.appended(channel, message, true, false);
    }

    fn appended(&self, channel: &str, message: &[u8], is_silent: bool, is_late: bool) {
        let text = message.strip_prefix(&[FOR_GATEWAYS]).unwrap_or(message);
        let frame: Value = serde_json::from_slice(text).unwrap_or_default();
        let user = channel.strip_prefix("ws:").unwrap_or_default();
        if frame["event"] == READ_STATE_EVENT {
            return self.read_state_published(user);
        }
        let id = frame["id"].as_str().and_then(|id| id.parse().ok());
        let event = frame["event_id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let (Some(id), Some(event)) = (id, event) else {
            return self.recorder.violate(format!("published without id or event: {frame}"));
        };
        self.recorder
            .trace(format_args!("published {event} to {user} as {id}, silently: {is_silent}"));
        let mut state = self.state();
        let named = frame["user_id"].as_str();
        let category = frame["category"].as_str().unwrap_or_default().to_owned();
        let (is_lost, is_deleted) = (false, false);
        let entry = Entry { id, event: event.as_u128(), category, is_lost, is_deleted };
        let mut violations = Vec::new();
        if !is_silent && !is_late && state.silent.contains(&event.as_u128()) {
            violations.push(format!("{event} was published again after all keys were lost"));
        }
        if is_silent {
            violations.extend(state.restored_silently(user, &entry));
        }
        violations.extend(state.publish(user, entry, named));
        violations.extend(state.overtaken(event.as_u128(), self.owner_wait));
        if state.events.get(&event.as_u128()).is_some_and(|event| event.was_published) {
            self.recorder.reach("an event was published again after Redis lost its claim");
        }
        state.set_published(event.as_u128());
        for violation in violations {
            self.recorder.violate(violation);
        }
    }

    pub(crate) fn published_count(&self) -> usize {
        self.state().published.len()
    }

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

    /// Returns an event that a failover has lost and that is not restored, although Kafka has it.
    pub(crate) fn not_restored(&self) -> Option<String> {
        let state = self.state();
        let has_record = |(partition, offset): &(Partition, i64)| {
            state.record(partition, *offset).is_some_and(|record| !record.is_deleted)
        };
        let lost = state.events.values().find(|event| {
            let has_recipient = event.event.names_user || !state.owners_lost;
            let has_record = event.copies.iter().all(has_record);
            event.is_lost && !event.is_claimed && has_recipient && has_record
        })?;
        Some(format!("{:?} is lost and not restored", lost.event))
    }

    pub(crate) fn all_keys_lost(&self) {
        let mut state = self.state();
        let is_restored = state.lose_keys();
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
    /// data. One that was assigned the partition after a loss takes everything that exists by then
    /// for what has survived, and publishes what is missing there. Other workers then see that the
    /// history of the user has survived.
    pub(crate) fn rewound(&self, partition: &Partition, to: RewindTo, intact_ms_ago: u64) {
        let State { silent, events, keys_lost_at, rewound_at, .. } = &mut *self.state();
        if matches!(to, RewindTo::Offset { .. }) {
            rewound_at.insert(partition.clone(), Instant::now());
        }
        let lost_ms_ago = keys_lost_at.map_or(u128::MAX, |at| at.elapsed().as_millis());
        if u128::from(intact_ms_ago) <= lost_ms_ago {
            let is_of_partition =
                |event: &&EventState| event.copies.iter().any(|(of_copy, _)| of_copy == partition);
            let users: BTreeSet<&str> =
                events.values().filter(is_of_partition).map(|event| &*event.event.user).collect();
            silent.retain(|event| !users.contains(&*events[event].event.user));
        }
    }

    /// Notes a failover.
    pub(crate) fn all_owners_lost(&self) {
        let mut state = self.state();
        state.lose_keys();
        state.cursors.clear();
        state.owners.clear();
    }

    /// Notes that a worker has stored a key.
    pub(crate) fn key_stored(&self, key: &str) {
        if let Some(batch) = key.strip_prefix(OWNERS) {
            let mut state = self.state();
            state.stored_owners.insert(batch.to_owned());
            state.owners.entry(batch.to_owned()).or_insert_with(Instant::now);
        }
    }

    /// Notes that Redis has lost a key.
    pub(crate) fn key_lost(&self, key: &str) {
        self.state().lose_keys();
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

    pub(crate) fn dead_lettered(&self, partition: &Partition, offset: i64) {
        let mut state = self.state();
        if let Some(record) = state.record(partition, offset)
            && !matches!(record.expected, Expected::DeadLetter)
        {
            let has_waited = record.produced_at.elapsed() >= self.owner_wait;
            if has_waited && state.was_owner_unknown(record) {
                self.recorder.reach("an owner stayed unknown");
            } else {
                let expected = &record.expected;
                let what = format!("{partition:?} {offset} is a dead letter: {expected:?}");
                self.recorder.violate(what);
            }
        }
        state.dead_letters.insert((partition.clone(), offset));
    }

    /// Checks that every record before a committed offset is finished.
    pub(crate) fn committed(&self, partition: &Partition, next: i64) {
        let mut state = self.state();
        state.committed.insert(partition.clone(), next);
        for offset in 0..next {
            let is_finished = state.record(partition, offset).is_some_and(|record| {
                let letter = || state.dead_letters.contains(&(partition.clone(), offset));
                match &record.expected {
                    _ if record.is_deleted => true,
                    Expected::Ignored => true,
                    Expected::Owner(batch) => state.stored_owners.contains(batch),
                    Expected::DeadLetter => letter(),
                    Expected::Notification(event) => {
                        state.events[&event.id].was_published || letter()
                    }
                }
            });
            if !is_finished {
                self.recorder
                    .violate(format!("{partition:?} {offset} is committed and not finished"));
            }
        }
    }

    pub(crate) fn records_deleted(&self, partition: &Partition, begin: i64) {
        let mut state = self.state();
        state.owners_lost = true;
        if let Some(records) = state.records.get_mut(partition) {
            let begin = usize::try_from(begin).unwrap_or(0);
            records.iter_mut().take(begin).for_each(|record| record.is_deleted = true);
        }
    }

    pub(crate) fn revoked(&self, token_id: &str) {
        self.state().revoked.insert(token_id.to_owned());
    }

    /// Whether a token was ever revoked: a gateway may remember it although Redis has lost it.
    pub(crate) fn was_revoked(&self, token_id: &str) -> bool {
        self.state().revoked.contains(token_id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}
