//! What must hold. The oracle knows every record that was produced, everything that Redis has
//! stored and lost, and everything that clients have received.

mod clients;
mod filter;
mod losses;
mod read_state;
mod state;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use ingest_worker::worker::pipeline::Partition;
use serde_json::Value;
use shared::keys::FOR_GATEWAYS;
use tokio::time::Instant;
use uuid::Uuid;
use ws_gateway::protocol::READ_STATE_EVENT;

use crate::recorder::Recorder;
pub(crate) use filter::Filter;
use state::{Entry, EventState, Record, State};
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
    /// from before all keys were lost. A server that is marked holds since when it has data.
    pub(crate) fn published(&self, channel: &str, message: &[u8], is_late: bool, is_marked: bool) {
        self.note_mark(is_marked);
        self.appended(channel, message, false, is_late);
    }

    /// Takes a message that a script has added to a user's history only.
    pub(crate) fn stored(&self, channel: &str, message: &[u8], is_marked: bool) {
        self.note_mark(is_marked);
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

    /// Notes that a worker has stored a key.
    pub(crate) fn key_stored(&self, key: &str) {
        if let Some(batch) = key.strip_prefix(OWNERS) {
            let mut state = self.state();
            state.stored_owners.insert(batch.to_owned());
            state.owners.entry(batch.to_owned()).or_insert_with(Instant::now);
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
