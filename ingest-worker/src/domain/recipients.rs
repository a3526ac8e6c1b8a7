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
    /// Looks up the owners of `requested`, then stores those in `learned`, in one round trip.
    ///
    /// # Errors
    /// [`TransientError`] if the directory as a whole is unavailable; the call can be repeated.
    fn find_and_learn(
        &self,
        requested: &[OwnedEntity],
        learned: &[(OwnedEntity, UserId)],
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
        let mut requested = Vec::new();
        for hints in events {
            let owned = hints.owned.iter();
            match &hints.user {
                Some(user) => {
                    learned.extend(owned.map(|owned| (owned.clone(), user.clone())));
                }
                None => {
                    requested.extend(owned.filter(|owned| !learned.contains_key(*owned)).cloned());
                }
            }
        }
        requested.sort_unstable();
        requested.dedup();
        Self { learned, requested, answers: OwnerAnswers::default() }
    }

    /// Returns whether a recipient depends on the directory's answer.
    pub(super) fn needs_answer(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Looks up the requested owners in the directory and stores the learned ones.
    ///
    /// # Errors
    /// As [`OwnerDirectory::find_and_learn`].
    pub(super) async fn resolve(
        &mut self,
        directory: &impl OwnerDirectory,
    ) -> Result<(), TransientError> {
        if self.learned.is_empty() && self.requested.is_empty() {
            return Ok(());
        }
        let learned = self.learned.iter().map(|(owned, user)| (owned.clone(), user.clone()));
        let learned: Vec<_> = learned.collect();
        self.answers = directory.find_and_learn(&self.requested, &learned).await?;
        Ok(())
    }

    /// Returns the recipient of each event, in order. The owner of an entity is the one that an
    /// earlier event of the batch states, else the stored one, else the one that the next event
    /// states, so that a recipient does not depend on which events are read together.
    pub(super) fn recipients(&self, events: &[&RecipientHints]) -> Vec<Recipient> {
        let needs_owners = events.iter().any(|hints| hints.user.is_none());
        let (mut stated, mut first_stated) = (HashMap::new(), HashMap::new());
        for hints in events.iter().filter(|_| needs_owners).rev() {
            let user = hints.user.iter();
            first_stated.extend(user.flat_map(|user| hints.owned.iter().map(move |o| (o, user))));
        }
        let mut recipients = Vec::with_capacity(events.len());
        for hints in events {
            recipients.push(self.recipient(hints, &stated, &first_stated));
            if let Some(user) = hints.user.as_ref().filter(|_| needs_owners) {
                stated.extend(hints.owned.iter().map(|owned| (owned, user)));
            }
        }
        recipients
    }

    fn recipient(
        &self,
        hints: &RecipientHints,
        stated: &HashMap<&OwnedEntity, &UserId>,
        first_stated: &HashMap<&OwnedEntity, &UserId>,
    ) -> Recipient {
        if let Some(error) = self.refusal(hints) {
            return Recipient::Refused(error.clone());
        }
        let known = |owned| {
            let earlier = stated.get(owned).copied();
            let stored = || self.answers.found.get(owned);
            earlier.or_else(stored).or_else(|| first_stated.get(owned).copied())
        };
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
    async fn find_and_learn(
        &self,
        requested: &[OwnedEntity],
        learned: &[(OwnedEntity, UserId)],
    ) -> Result<OwnerAnswers, TransientError> {
        self.round_trips.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.requests.fetch_add(requested.len(), std::sync::atomic::Ordering::Relaxed);
        let mut owners = self.owners.lock().unwrap();
        let refused = self.refused.lock().unwrap().clone();
        let found = requested.iter().filter_map(|owned| owners.get_key_value(owned));
        let found = found.map(|(owned, user)| (owned.clone(), user.clone())).collect();
        let stored = learned.iter().filter(|(owned, _)| !refused.contains_key(owned));
        owners.extend(stored.cloned());
        Ok(OwnerAnswers { found, refused })
    }
}

#[cfg(test)]
mod tests;
