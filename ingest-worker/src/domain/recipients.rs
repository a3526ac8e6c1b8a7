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
    /// Stores the owners in `learned`, then looks up those of `requested`, in one round trip.
    ///
    /// # Errors
    /// [`TransientError`] if the directory as a whole is unavailable; the call can be repeated.
    fn learn_and_find(
        &self,
        learned: &[(OwnedEntity, UserId)],
        requested: &[OwnedEntity],
    ) -> impl Future<Output = Result<OwnerAnswers, TransientError>> + Send;
}

/// The answers of a directory.
#[derive(Clone, Debug, Default)]
pub struct OwnerAnswers {
    /// The known owners of requested entities.
    pub found: HashMap<OwnedEntity, UserId>,
    /// The entities whose owner could be neither stored nor looked up; a retry may succeed.
    pub refused: HashMap<OwnedEntity, TransientError>,
}

/// The recipient of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// This user.
    Known(UserId),
    /// No owner is stored.
    Unknown,
    /// The directory refused the lookup, or the owner that the event states; for a later attempt.
    Refused(TransientError),
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
    answers: OwnerAnswers,
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
        Self { learned, requested, answers: OwnerAnswers::default() }
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
        self.answers = directory.learn_and_find(&learned, &self.requested).await?;
        Ok(())
    }

    /// Returns the recipient of each event, in order.
    pub(super) fn recipients(&self, events: &[&RecipientHints]) -> Vec<Recipient> {
        events.iter().map(|hints| self.recipient(hints)).collect()
    }

    fn recipient(&self, hints: &RecipientHints) -> Recipient {
        if let Some(error) = self.refusal(hints) {
            return Recipient::Refused(error.clone());
        }
        let known = |owned| self.learned.get(owned).or_else(|| self.answers.found.get(owned));
        let owner = || hints.owned.iter().find_map(known);
        let user = hints.user.as_ref().or_else(owner).cloned();
        user.map_or(Recipient::Unknown, Recipient::Known)
    }

    /// Returns why the directory refused an entity of an event.
    pub(super) fn refusal(&self, hints: &RecipientHints) -> Option<&TransientError> {
        hints.owned.iter().find_map(|owned| self.answers.refused.get(owned))
    }
}

/// An in-memory directory that counts its calls.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakeDirectory {
    pub(crate) owners: std::sync::Mutex<HashMap<OwnedEntity, UserId>>,
    pub(crate) round_trips: std::sync::atomic::AtomicUsize,
    pub(crate) requests: std::sync::atomic::AtomicUsize,
    /// Entities whose commands are refused.
    pub(crate) refused: std::sync::Mutex<HashMap<OwnedEntity, TransientError>>,
}

#[cfg(test)]
impl OwnerDirectory for FakeDirectory {
    async fn learn_and_find(
        &self,
        learned: &[(OwnedEntity, UserId)],
        requested: &[OwnedEntity],
    ) -> Result<OwnerAnswers, TransientError> {
        self.round_trips.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.requests.fetch_add(requested.len(), std::sync::atomic::Ordering::Relaxed);
        let mut owners = self.owners.lock().unwrap();
        let refused = self.refused.lock().unwrap().clone();
        let stored = learned.iter().filter(|(owned, _)| !refused.contains_key(owned));
        owners.extend(stored.cloned());
        let found = requested.iter().filter_map(|owned| owners.get_key_value(owned));
        let found = found.map(|(owned, user)| (owned.clone(), user.clone())).collect();
        Ok(OwnerAnswers { found, refused })
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
        let user = |recipient| match recipient {
            Recipient::Known(user) => Some(user.to_string()),
            Recipient::Unknown => None,
            Recipient::Refused(error) => panic!("{error}"),
        };
        owners.recipients(&events).into_iter().map(user).collect()
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
    async fn an_event_with_an_entity_that_the_directory_refuses_has_no_recipient_yet() {
        let directory = FakeDirectory::default();
        let system = crate::notification::publisher::System::Redis;
        let error = TransientError { system, detail: "refused".into() };
        directory.refused.lock().unwrap().insert(batch("b"), error.clone());
        let user = UserId::new("u").unwrap();
        directory.owners.lock().unwrap().insert(class("c"), user.clone());
        let events = [
            event(None, &[batch("b"), class("c")]),
            event(Some("u"), &[batch("b")]),
            event(None, &[class("c")]),
        ];
        let events: Vec<&RecipientHints> = events.iter().collect();
        let mut owners = OwnerLookup::new(&events);
        owners.resolve(&directory).await.unwrap();
        let refused = Recipient::Refused(error);
        let expected = [refused.clone(), refused, Recipient::Known(user)];
        assert_eq!(owners.recipients(&events), expected);
    }

    #[tokio::test]
    async fn events_that_name_only_their_user_need_no_round_trip() {
        let directory = FakeDirectory::default();
        resolved(&directory, &[event(Some("u"), &[])]).await;
        assert_eq!(directory.round_trips.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}
