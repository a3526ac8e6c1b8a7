//! The boundary through which notifications leave the worker, each published once.

use std::{fmt, future::Future};

use shared::user::UserId;
use uuid::Uuid;

/// The identity of an event, for idempotency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventIdentity {
    /// The id that its producer gave it, and a hash of its event type: producers use an id again
    /// for an event of another type.
    EventId {
        /// The event id.
        id: Uuid,
        /// A hash of the event type.
        type_hash: u32,
    },
    /// SHA-256 of its event type and payload.
    Content([u8; 32]),
}

impl fmt::Display for EventIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventId { id, type_hash } => write!(f, "{id}:{type_hash:08x}"),
            Self::Content(hash) => hash.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// One notification for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingNotification {
    /// The recipient.
    pub user: UserId,
    /// Two notifications of one identity for one user are published once.
    pub identity: EventIdentity,
    /// The notification, a JSON object without the `id` that publishing assigns.
    pub text: String,
}

/// The result of publishing one [`OutgoingNotification`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It is in the user's history and was sent to all subscribers.
    Published,
    /// It had been published before.
    Duplicate,
    /// The store refused this notification, and with it the user's later ones in the same call; a
    /// retry may succeed.
    Refused(TransientError),
    /// It can never be published, and why.
    Invalid(&'static str),
}

shared::label! {
    /// A system that the worker depends on.
    pub enum System as "system" {
        /// Notifications and owners are stored here.
        Redis = "redis",
        /// Dead letters are written here.
        Kafka = "kafka",
    }
}

/// A failure outside the worker that a retry may overcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", .system.label())]
pub struct TransientError {
    /// The system that failed.
    pub system: System,
    /// The failure, for logs; without payloads and secrets.
    pub detail: String,
}

/// A store that publishes notifications.
///
/// An implementation guarantees that a notification is published at most once per user and
/// identity, that a user's notifications are published in the order given, and that
/// [`PublishOutcome::Published`] and [`PublishOutcome::Duplicate`] mean it is stored.
pub trait Publisher: Send + Sync {
    /// Publishes all of `notifications`; returns an outcome for each, in order.
    ///
    /// # Errors
    /// [`TransientError`] if the store as a whole is unavailable; any of them may have been
    /// published, and the call can be repeated.
    fn publish(
        &self,
        notifications: &[OutgoingNotification],
    ) -> impl Future<Output = Result<Vec<PublishOutcome>, TransientError>> + Send;
}

/// An in-memory publisher that can be made to fail.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakePublisher {
    pub(crate) published: std::sync::Mutex<Vec<OutgoingNotification>>,
    pub(crate) fails: std::sync::atomic::AtomicBool,
    /// The outcome for a user whose notifications are not published.
    pub(crate) unpublished: Option<(UserId, PublishOutcome)>,
}

#[cfg(test)]
impl Publisher for FakePublisher {
    async fn publish(
        &self,
        notifications: &[OutgoingNotification],
    ) -> Result<Vec<PublishOutcome>, TransientError> {
        if self.fails.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(TransientError { system: System::Redis, detail: "outage".into() });
        }
        let mut published = self.published.lock().unwrap();
        let publish = |new: &OutgoingNotification| {
            if let Some((user, outcome)) = &self.unpublished
                && *user == new.user
            {
                return outcome.clone();
            }
            let key = |sent: &OutgoingNotification| (sent.user.clone(), sent.identity);
            if published.iter().any(|sent| key(sent) == key(new)) {
                return PublishOutcome::Duplicate;
            }
            published.push(new.clone());
            PublishOutcome::Published
        };
        Ok(notifications.iter().map(publish).collect())
    }
}
