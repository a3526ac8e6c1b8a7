//! The facts that the oracle has gathered, and the checks of what Redis has published.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ingest_worker::worker::pipeline::Partition;
use tokio::time::Instant;

use super::filter::Filter;
use crate::redis::store::Id;

/// Longest time in which a worker restores what was lost.
pub(super) const RESTORED_WITHIN: Duration = Duration::from_secs(20);

/// The expected outcome of a record.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Notification(Event),
    /// States the owner of a batch.
    Owner(String),
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

/// Returns the id of a batch.
pub(crate) fn batch_id(batch: usize) -> String {
    format!("batch-{batch}")
}

#[derive(Default)]
pub(super) struct State {
    /// What is expected of each record, by offset.
    pub(super) records: BTreeMap<Partition, Vec<Record>>,
    pub(super) events: BTreeMap<u128, EventState>,
    /// What was published to each user, in order.
    pub(super) entries: BTreeMap<String, Vec<Entry>>,
    /// The user and the index of each entry, in order of publication.
    pub(super) published: Vec<(String, usize)>,
    pub(super) dead_letters: BTreeSet<(Partition, i64)>,
    pub(super) committed: BTreeMap<Partition, i64>,
    /// The events that were committed when all keys were lost, and nothing shortly before: they are
    /// not published again.
    pub(super) silent: BTreeSet<u128>,
    /// The events that a failover had lost when all keys were lost, too, before a worker restored
    /// them: no worker can tell them from the others.
    pub(super) forgotten: BTreeSet<u128>,
    /// The events of which a single claim was lost, so that their histories may have them twice.
    pub(super) unclaimed: BTreeSet<u128>,
    /// When each partition was rewound to an offset last.
    pub(super) rewound_at: BTreeMap<Partition, Instant>,
    /// Whether some keys were lost, not all, and may not be restored yet.
    pub(super) is_lost_in_part: bool,
    /// When keys were lost last.
    pub(super) keys_lost_at: Option<Instant>,
    /// When something was published first since, while Redis did not hold since when it has data.
    pub(super) unmarked_since_loss: Option<Instant>,
    pub(super) clients: BTreeMap<usize, Client>,
    /// The read cursor of each user on the master, since it was last lost.
    pub(super) cursors: BTreeMap<String, Id>,
    /// The users whose read states Redis has lost, so that devices may show former ones.
    pub(super) unknown_read_states: BTreeMap<String, Lost>,
    /// The batches whose owners Redis has, and since when.
    pub(super) owners: BTreeMap<String, Instant>,
    /// The batches whose owners were ever stored.
    pub(super) stored_owners: BTreeSet<String>,
    /// The ids of the tokens that were ever revoked.
    pub(super) revoked: BTreeSet<String>,
    /// Whether owners were lost in Redis or Kafka, so that an event may have no recipient any more.
    pub(super) owners_lost: bool,
}

pub(super) struct Record {
    pub(super) expected: Expected,
    pub(super) produced_at: Instant,
    /// Deleted by retention.
    pub(super) is_deleted: bool,
}

pub(super) struct EventState {
    pub(super) event: Event,
    /// Where its record was produced.
    pub(super) copies: Vec<(Partition, i64)>,
    pub(super) was_published: bool,
    /// Whether Redis knows that it was published.
    pub(super) is_claimed: bool,
    /// Whether a failover has lost it, and it is not restored.
    pub(super) is_lost: bool,
}

pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) event: u128,
    pub(super) category: String,
    /// Whether a failover has lost it.
    pub(super) is_lost: bool,
    /// Whether a key of its user's history was lost since, or its newest position refused.
    pub(super) is_deleted: bool,
}

/// A client, across all of its connections.
#[derive(Default)]
pub(super) struct Client {
    pub(super) user: String,
    pub(super) received: BTreeSet<Id>,
    /// The events of these.
    pub(super) events: BTreeSet<u128>,
    /// Those on the present connection.
    pub(super) on_connection: BTreeSet<u128>,
    /// The newest id on the present connection.
    pub(super) newest: Option<Id>,
    /// Whether notifications have to be delivered: from the first confirmed connection on.
    pub(super) expects_delivery: bool,
    /// Entries that the client need not receive: it began after them, a gap was reported, or its
    /// filter changed while they were on their way.
    pub(super) waived: BTreeSet<Id>,
    /// What passes each filter that its gateway may apply.
    pub(super) required: Filter,
    /// What passes some of them.
    pub(super) permitted: Filter,
}

/// What was lost of the keys that a user's read state is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Some of them: no device may know before the next read state.
    Some,
    /// All of them: every device knows from the next notification on.
    All,
}

/// Returns the user of a key that the read state is counted from.
pub(super) fn user_of_history(key: &str) -> Option<&str> {
    let kinds = ["ws:stream:{", "ws:start:{", "ws:position:{", "ws:read:{"];
    kinds.iter().find_map(|kind| key.strip_prefix(kind)?.strip_suffix('}'))
}

impl State {
    pub(super) fn record(&self, partition: &Partition, offset: i64) -> Option<&Record> {
        self.records.get(partition)?.get(usize::try_from(offset).ok()?)
    }

    /// Whether a record needs an owner that Redis did not have when the record was produced.
    pub(super) fn was_owner_unknown(&self, record: &Record) -> bool {
        let Expected::Notification(event) = &record.expected else { return false };
        let batch = event.batch.filter(|_| !event.names_user);
        batch.is_some_and(|batch| {
            let known_since = self.owners.get(&batch_id(batch));
            known_since.is_none_or(|since| *since > record.produced_at)
        })
    }

    pub(super) fn publish(&mut self, user: &str, entry: Entry, named: Option<&str>) -> Vec<String> {
        let Entry { id, event, .. } = entry;
        let mut violations = Vec::new();
        self.extend_history(user);
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
        state.is_lost = false;
        self.silent.remove(&event);
        self.forgotten.remove(&event);
        if std::mem::replace(&mut state.is_claimed, true) {
            violations.push(format!("{:?} was published twice", state.event));
        }
        violations
    }

    /// Notes that keys are lost. Returns whether nothing else than all keys was lost before, or
    /// everything that was is restored.
    pub(super) fn lose_keys(&mut self, all: bool) -> bool {
        self.silent.clear();
        self.unmarked_since_loss = None;
        let before = self.keys_lost_at.replace(Instant::now());
        let is_restored = before.is_none_or(|before| before.elapsed() > RESTORED_WITHIN);
        let was_lost_in_part = self.is_lost_in_part && !is_restored;
        self.is_lost_in_part = was_lost_in_part || !all;
        !was_lost_in_part
    }

    pub(super) fn set_published(&mut self, event: u128) {
        if let Some(event) = self.events.get_mut(&event) {
            event.was_published = true;
        }
    }

    /// Returns an earlier event that must have been published before this one and was not: of the
    /// same partition, and either both name their user or both are of one batch.
    pub(super) fn overtaken(&self, event: u128, owner_wait: Duration) -> Option<String> {
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
            let may_be_dead_letter =
                !other.names_user && record.produced_at.elapsed() >= owner_wait;
            is_ordered && !self.events[&other.id].was_published && !may_be_dead_letter
        });
        let (_, before) = overtaken?;
        Some(format!("{partition:?} {offset} was published before {before} of the same user"))
    }
}

impl State {
    /// Notes that a key of a user is lost.
    pub(super) fn lose_read_state(&mut self, user: &str, lost: Lost) {
        self.cursors.remove(user);
        let known = self.unknown_read_states.entry(user.to_owned()).or_insert(lost);
        if lost == Lost::All {
            *known = lost;
        }
        self.forget_entries(user);
    }

    /// Notes that a count of unread notifications may lack the present ones.
    pub(super) fn forget_entries(&mut self, user: &str) {
        let entries = self.entries.get_mut(user).into_iter().flatten();
        entries.for_each(|entry| entry.is_deleted = true);
    }

    /// Notes that all keys are lost.
    pub(super) fn lose_read_states(&mut self) {
        let users: Vec<String> = self.clients.values().map(|client| client.user.clone()).collect();
        for user in users {
            self.lose_read_state(&user, Lost::All);
        }
    }

    /// Notes that a notification was added to the history of a user.
    pub(super) fn extend_history(&mut self, user: &str) {
        if self.unknown_read_states.get(user) == Some(&Lost::All) {
            self.unknown_read_states.remove(user);
        }
    }
}
