//! What must hold. The oracle knows every record that was produced, everything that Redis has
//! stored and lost, and everything that clients have received.

mod clients;
mod filter;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use ingest_worker::worker::pipeline::Partition;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{redis::store::Id, simulation::Simulation};
pub(crate) use filter::Filter;

/// The expected outcome of a record.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Notification(Event),
    DeadLetter,
    Ignored,
}

/// An event that is notified once to one user.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: u128,
    pub(crate) user: String,
    /// Whether the record names the user; else its batch has an owner.
    pub(crate) names_user: bool,
    pub(crate) batch: Option<usize>,
}

#[derive(Default)]
pub(crate) struct Oracle(Mutex<State>);

#[derive(Default)]
struct State {
    /// What is expected of each record, by offset.
    records: BTreeMap<Partition, Vec<Record>>,
    events: BTreeMap<u128, EventState>,
    /// What was published to each user, in order.
    entries: BTreeMap<String, Vec<Entry>>,
    /// The user and the index of each entry, in order of publication.
    published: Vec<(String, usize)>,
    dead_letters: BTreeSet<(Partition, i64)>,
    clients: BTreeMap<usize, clients::Client>,
    /// The ids of the tokens that were ever revoked.
    revoked: BTreeSet<String>,
}

struct Record {
    expected: Expected,
    produced_at: Instant,
    /// Deleted by retention.
    is_deleted: bool,
}

struct EventState {
    event: Event,
    /// Where its record was produced.
    copies: Vec<(Partition, i64)>,
    was_published: bool,
    /// Whether Redis knows that it was published.
    is_claimed: bool,
}

struct Entry {
    id: Id,
    event: u128,
    category: String,
    /// Whether a failover has lost it.
    is_lost: bool,
}

impl Oracle {
    pub(crate) fn produced(&self, partition: &Partition, expected: Expected) {
        let mut state = self.state();
        let records = state.records.entry(partition.clone()).or_default();
        let offset = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let produced_at = Instant::now();
        records.push(Record { expected: expected.clone(), produced_at, is_deleted: false });
        if let Expected::Notification(event) = expected {
            let (copies, id) = (Vec::new(), event.id);
            let new = EventState { event, copies, was_published: false, is_claimed: false };
            let known = state.events.entry(id).or_insert(new);
            known.copies.push((partition.clone(), offset));
        }
    }

    /// Takes a message that a script has published on a user's channel.
    pub(crate) fn published(&self, sim: &Simulation, channel: &str, message: &[u8]) {
        let frame: Value = serde_json::from_slice(message).unwrap_or_default();
        let user = channel.strip_prefix("ws:").unwrap_or_default();
        let id = frame["id"].as_str().and_then(|id| id.parse().ok());
        let event = frame["event_id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let (Some(id), Some(event)) = (id, event) else {
            return sim.violate(format!("published without id or event: {frame}"));
        };
        sim.trace(format_args!("published {event} to {user} as {id}"));
        let mut state = self.state();
        let named = frame["user_id"].as_str();
        let category = frame["category"].as_str().unwrap_or_default().to_owned();
        let entry = Entry { id, event: event.as_u128(), category, is_lost: false };
        let mut violations = state.publish(user, entry, named);
        violations.extend(state.overtaken(event.as_u128(), sim.plan.owner_wait));
        if state.events.get(&event.as_u128()).is_some_and(|event| event.was_published) {
            sim.reach("an event was published again after Redis lost its claim");
        }
        state.set_published(event.as_u128());
        for violation in violations {
            sim.violate(violation);
        }
    }

    pub(crate) fn published_count(&self) -> usize {
        self.state().published.len()
    }

    /// Marks what was published since as lost, and with it the claims; returns how many.
    pub(crate) fn lost_after(&self, sim: &Simulation, published: usize) -> usize {
        let state = &mut *self.state();
        let mut lost = 0;
        for (user, index) in &state.published[published..] {
            let Some(entry) = state.entries.get_mut(user).and_then(|all| all.get_mut(*index))
            else {
                continue;
            };
            lost += usize::from(!std::mem::replace(&mut entry.is_lost, true));
            sim.trace(format_args!("lost {} of {user}", entry.id));
            if let Some(event) = state.events.get_mut(&entry.event) {
                event.is_claimed = false;
            }
        }
        lost
    }

    pub(crate) fn all_claims_lost(&self) {
        self.state().events.values_mut().for_each(|event| event.is_claimed = false);
    }

    /// Notes that Redis has lost a key.
    pub(crate) fn key_lost(&self, key: &str) {
        let Some((_, identity)) =
            key.strip_prefix("ws:seen:{").and_then(|key| key.split_once("}:"))
        else {
            return;
        };
        let event = identity.split(':').next().and_then(|id| id.parse::<Uuid>().ok());
        let mut state = self.state();
        if let Some(event) = event.and_then(|event| state.events.get_mut(&event.as_u128())) {
            event.is_claimed = false;
        }
    }

    pub(crate) fn dead_lettered(&self, sim: &Simulation, partition: &Partition, offset: i64) {
        let mut state = self.state();
        if let Some(record) = state.record(partition, offset)
            && let Expected::Notification(event) = &record.expected
        {
            let has_waited = record.produced_at.elapsed() >= sim.plan.owner_wait;
            if event.names_user || !has_waited {
                let what = format!("{partition:?} {offset} is a dead letter: {event:?}");
                sim.violate(what);
            } else {
                sim.reach("an owner stayed unknown");
            }
        }
        state.dead_letters.insert((partition.clone(), offset));
    }

    /// Checks that every record before a committed offset is finished.
    pub(crate) fn committed(&self, sim: &Simulation, partition: &Partition, next: i64) {
        let state = self.state();
        for offset in 0..next {
            let is_finished = state.record(partition, offset).is_some_and(|record| {
                let letter = || state.dead_letters.contains(&(partition.clone(), offset));
                match &record.expected {
                    _ if record.is_deleted => true,
                    Expected::Ignored => true,
                    Expected::DeadLetter => letter(),
                    Expected::Notification(event) => {
                        state.events[&event.id].was_published || letter()
                    }
                }
            });
            if !is_finished {
                sim.violate(format!("{partition:?} {offset} is committed and not finished"));
            }
        }
    }

    pub(crate) fn records_deleted(&self, partition: &Partition, begin: i64) {
        let mut state = self.state();
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
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

impl State {
    fn record(&self, partition: &Partition, offset: i64) -> Option<&Record> {
        self.records.get(partition)?.get(usize::try_from(offset).ok()?)
    }

    fn publish(&mut self, user: &str, entry: Entry, named: Option<&str>) -> Vec<String> {
        let Entry { id, event, .. } = entry;
        let mut violations = Vec::new();
        let entries = self.entries.entry(user.to_owned()).or_default();
        if entries.iter().rev().find(|entry| !entry.is_lost).is_some_and(|last| last.id >= id) {
            violations.push(format!("{id} of {user} is not greater than the id before it"));
        }
        let index = entries.len();
        entries.push(entry);
        self.published.push((user.to_owned(), index));
        let Some(state) = self.events.get_mut(&event) else {
            violations.push(format!("published an event that was never produced: {event:032x}"));
            return violations;
        };
        if state.event.user != user || named != Some(user) {
            violations.push(format!("{:?} was published to {user}", state.event));
        }
        if std::mem::replace(&mut state.is_claimed, true) {
            violations.push(format!("{:?} was published twice", state.event));
        }
        violations
    }

    fn set_published(&mut self, event: u128) {
        if let Some(event) = self.events.get_mut(&event) {
            event.was_published = true;
        }
    }

    /// Returns an earlier event that must have been published before this one and was not: of the
    /// same partition, and either both name their user or both are of one batch.
    fn overtaken(&self, event: u128, owner_wait: Duration) -> Option<String> {
        let this = self.events.get(&event).filter(|event| !event.was_published)?;
        // Another copy may have been published from another partition.
        let [(partition, offset)] = &this.copies[..] else { return None };
        let records = self.records[partition].iter().zip(0..*offset);
        let overtaken = records.filter(|(record, _)| !record.is_deleted).find(|(record, _)| {
            let Expected::Notification(other) = &record.expected else { return false };
            let both_named = other.names_user && this.event.names_user;
            let is_ordered = other.user == this.event.user
                && (both_named || (other.batch.is_some() && other.batch == this.event.batch));
            // It may be on its way to the dead-letter topic.
            let may_be_letter = !other.names_user && record.produced_at.elapsed() >= owner_wait;
            is_ordered && !self.events[&other.id].was_published && !may_be_letter
        });
        let (_, before) = overtaken?;
        Some(format!("{partition:?} {offset} was published before {before} of the same user"))
    }
}
