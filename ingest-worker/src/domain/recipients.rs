//! Resolves the recipient of a notification: the user that the payload names, else the owner of
//! the batch, else the owner of the class. Learns owners from every event that names both a user
//! and a batch or class.

use std::{collections::HashMap, future::Future};

use shared::user::UserId;

use crate::notification::publisher::TransientError;

/// An entity that belongs to one user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnedEntity {
    /// A batch, by its id.
    Batch(String),
    /// A class, by its id.
    Class(String),
}

/// A directory of owners that all workers share.
///
/// An implementation guarantees that an owner stored by one call is found by every later call,
/// for as long as owners are kept.
pub trait OwnerDirectory: Send + Sync {
    /// Stores the owners in `learned`, then looks up those of `requested`, in one round trip;
    /// returns the answers in the order of `requested`.
    ///
    /// # Errors
    /// [`TransientError`] if any of it may not have happened; the call can be repeated.
    fn learn_and_find(
        &self,
        learned: &[(OwnedEntity, UserId)],
        requested: &[OwnedEntity],
    ) -> impl Future<Output = Result<Vec<Option<UserId>>, TransientError>> + Send;
}

/// Longest id of a batch or class whose owner is stored, in bytes. Producers use UUIDs; the limit
/// bounds the keys of the directory.
const MAX_ID_BYTES: usize = 256;

/// The ids in an event that determine its recipient.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecipientHints {
    /// The user that the event names.
    pub(crate) user: Option<UserId>,
    /// The entities that the event is about; the first with a known owner decides.
    pub(crate) owned: Vec<OwnedEntity>,
}

impl RecipientHints {
    /// The hints in an event that names these; ids too long for the directory are left out.
    pub(super) fn new(user: Option<UserId>, batch: Option<String>, class: Option<String>) -> Self {
        let fits = |id: &String| id.len() <= MAX_ID_BYTES;
        let batch = batch.filter(fits).map(OwnedEntity::Batch);
        let class = class.filter(fits).map(OwnedEntity::Class);
        Self { user, owned: batch.into_iter().chain(class).collect() }
    }
}

/// The owners that a batch of events states, and those that the directory has to resolve.
#[derive(Debug)]
pub(super) struct OwnerLookup {
    learned: HashMap<OwnedEntity, UserId>,
    requested: Vec<OwnedEntity>,
    found: HashMap<OwnedEntity, UserId>,
}

impl OwnerLookup {
    /// The lookup for a batch of events.
    pub(super) fn new(events: &[&RecipientHints]) -> Self {
        let mut learned = HashMap::new();
        for hints in events {
            if let Some(user) = &hints.user {
                learned.extend(hints.owned.iter().map(|owned| (owned.clone(), user.clone())));
            }
        }
        let mut requested = Vec::new();
        for hints in events.iter().filter(|hints| hints.user.is_none()) {
            let unknown = hints.owned.iter().filter(|owned| !learned.contains_key(*owned));
            requested.extend(unknown.cloned());
        }
        requested.sort_unstable();
        requested.dedup();
        Self { learned, requested, found: HashMap::new() }
    }

    /// Returns whether a recipient depends on the directory's answer.
    pub(super) fn needs_answer(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Stores the learned owners in the directory and looks up the requested ones.
    ///
    /// # Errors
    /// As [`OwnerDirectory::learn_and_find`].
    pub(super) async fn resolve(
        &mut self,
        directory: &impl OwnerDirectory,
    ) -> Result<(), TransientError> {
        if self.learned.is_empty() && self.requested.is_empty() {
            return Ok(());
        }
        let learned = self.learned.iter().map(|(owned, user)| (owned.clone(), user.clone()));
        let learned: Vec<_> = learned.collect();
        let answers = directory.learn_and_find(&learned, &self.requested).await?;
        let answers = self.requested.iter().cloned().zip(answers);
        self.found.extend(answers.filter_map(|(owned, user)| Some((owned, user?))));
        Ok(())
    }

    /// Returns the recipient of each event; `None` where none is known.
    pub(super) fn recipients(&self, events: &[&RecipientHints]) -> Vec<Option<UserId>> {
        let known = |owned: &OwnedEntity| self.learned.get(owned).or_else(|| self.found.get(owned));
        let recipient = |hints: &&RecipientHints| {
            let owner = || hints.owned.iter().find_map(known);
            hints.user.as_ref().or_else(owner).cloned()
        };
        events.iter().map(recipient).collect()
    }
}

/// An in-memory directory that counts its calls.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakeDirectory {
    pub(crate) owners: std::sync::Mutex<HashMap<OwnedEntity, UserId>>,
    pub(crate) round_trips: std::sync::atomic::AtomicUsize,
    pub(crate) requests: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl OwnerDirectory for FakeDirectory {
    async fn learn_and_find(
        &self,
        learned: &[(OwnedEntity, UserId)],
        requested: &[OwnedEntity],
    ) -> Result<Vec<Option<UserId>>, TransientError> {
        self.round_trips.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.requests.fetch_add(requested.len(), std::sync::atomic::Ordering::Relaxed);
        let mut owners = self.owners.lock().unwrap();
        owners.extend(learned.iter().cloned());
        Ok(requested.iter().map(|owned| owners.get(owned).cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(user: Option<&str>, owned: &[OwnedEntity]) -> RecipientHints {
        RecipientHints { user: user.map(|id| UserId::new(id).unwrap()), owned: owned.to_vec() }
    }

    fn batch(id: &str) -> OwnedEntity {
        OwnedEntity::Batch(id.into())
    }

    fn class(id: &str) -> OwnedEntity {
        OwnedEntity::Class(id.into())
    }

    async fn resolved(directory: &FakeDirectory, events: &[RecipientHints]) -> Vec<Option<String>> {
        let events: Vec<&RecipientHints> = events.iter().collect();
        let mut owners = OwnerLookup::new(&events);
        owners.resolve(directory).await.unwrap();
        let users = owners.recipients(&events).into_iter();
        users.map(|user| user.map(|user| user.to_string())).collect()
    }

    #[tokio::test]
    async fn the_named_user_takes_precedence_over_the_batch_and_that_over_the_class() {
        let directory = FakeDirectory::default();
        directory.owners.lock().unwrap().extend([
            (batch("b"), UserId::new("of-batch").unwrap()),
            (class("c"), UserId::new("of-class").unwrap()),
        ]);
        let events = [
            event(Some("named"), &[]),
            event(None, &[batch("b"), class("c")]),
            event(None, &[batch("unknown"), class("c")]),
            event(None, &[batch("unknown")]),
        ];
        let expected = [Some("named"), Some("of-batch"), Some("of-class"), None];
        let users = resolved(&directory, &events).await;
        assert_eq!(users, expected.map(|user| user.map(str::to_owned)));
    }

    #[tokio::test]
    async fn an_owner_is_learned_for_the_same_batch_of_events_and_for_later_ones() {
        let directory = FakeDirectory::default();
        let before = event(None, &[batch("b")]);
        let states_owner = event(Some("u"), &[batch("b"), class("c")]);
        let users = resolved(&directory, &[before, states_owner]).await;
        assert_eq!(users, [Some("u".to_owned()), Some("u".to_owned())]);
        let users = resolved(&directory, &[event(None, &[class("c")])]).await;
        assert_eq!(users, [Some("u".to_owned())]);
        assert_eq!(directory.round_trips.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn events_that_name_only_their_user_need_no_round_trip() {
        let directory = FakeDirectory::default();
        resolved(&directory, &[event(Some("u"), &[])]).await;
        assert_eq!(directory.round_trips.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}
