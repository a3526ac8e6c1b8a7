//! The boundary through which notifications leave the worker, each published once.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc};

use shared::user::UserId;
use uuid::Uuid;

use super::loss_time::LossTime;

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
    /// Set to add it to the user's history without sending it to subscribers, unless that history
    /// has survived the loss of data.
    pub history_only: Option<LossTime>,
}

impl OutgoingNotification {
    /// Marks it as one that may have been published before.
    pub fn set_restored(&mut self) {
        const MARK: &str = "\"restored\":true,";
        if !self.text[1..].starts_with(MARK) {
            self.text.insert_str(1, MARK);
        }
    }
}

/// How far a source of notifications is published, as kept by each server of a store.
///
/// It is replaced in the same request as notifications are published, after these: a server that
/// has a value has everything that was published before this value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Names the source.
    pub source: Arc<str>,
    /// The value that is replaced; a server that has another one keeps it.
    pub stored: StoredWatermark,
    /// Begins the new value. The store appends the number of the attempt, and replaces the values
    /// of other attempts with this token too.
    pub token: String,
    /// Ends the new value.
    pub position: String,
}

impl Watermark {
    /// The source whose value is the time, in milliseconds, from which on a server has kept all that
    /// workers have published there.
    pub(crate) const SINCE: &str = "since";

    /// Returns the name of the source that is a partition, as a group reads it. The id of the topic
    /// differs after it was created again, and on another cluster; brokers before version 2.8 have
    /// none.
    pub(crate) fn source_of(
        group: &str,
        topic: &str,
        partition: i32,
        topic_id: Option<&str>,
    ) -> Arc<str> {
        match topic_id {
            Some(id) => format!("{group}/{topic}/{partition}/{id}").into(),
            None => format!("{group}/{topic}/{partition}").into(),
        }
    }

    /// Returns whether a server holds something else than what is replaced, or what this replaces it
    /// with.
    pub(crate) fn has_changed(&self, stored: &StoredWatermark) -> bool {
        stored.iter().any(|(key, value)| {
            let is_other = self.stored.get(key).is_some_and(|known| known != value);
            is_other && !value.as_ref().is_some_and(|value| self.is_new(value))
        })
    }

    /// Returns whether an attempt to replace it has written a value.
    pub(crate) fn is_new(&self, value: &str) -> bool {
        value.strip_prefix(&*self.token).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// The value of a watermark on each server, by the key that holds it there.
pub type StoredWatermark = BTreeMap<Arc<str>, Option<String>>;

/// The result of [`Publisher::publish`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// An outcome for each notification, in order.
    pub outcomes: Vec<PublishOutcome>,
    /// What the servers now hold of each watermark, in order; empty if none was written.
    pub watermarks: Vec<StoredWatermark>,
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
    /// Publishes all of `notifications`, then replaces `watermarks`.
    ///
    /// # Errors
    /// [`TransientError`] if the store as a whole is unavailable; any of them may have been
    /// published, and the call can be repeated.
    fn publish(
        &self,
        notifications: &[OutgoingNotification],
        watermarks: &[Watermark],
    ) -> impl Future<Output = Result<Published, TransientError>> + Send;

    /// Returns what the servers hold of the watermark of each source, in order; nothing of any if
    /// one of them refuses to be read.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    fn watermarks(
        &self,
        sources: &[Arc<str>],
    ) -> impl Future<Output = Result<Vec<StoredWatermark>, TransientError>> + Send;

    /// Returns the time, in milliseconds, of the server whose clock is the latest.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    fn time(&self) -> impl Future<Output = Result<i64, TransientError>> + Send;
}

/// An in-memory publisher that can be made to fail.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakePublisher {
    pub(crate) published: std::sync::Mutex<Vec<OutgoingNotification>>,
    pub(crate) fails: std::sync::atomic::AtomicBool,
    /// The outcome for a user whose notifications are not published.
    pub(crate) unpublished: Option<(UserId, PublishOutcome)>,
    /// The time, which each read of watermarks takes a millisecond of.
    pub(crate) time: std::sync::atomic::AtomicI64,
}

#[cfg(test)]
impl Publisher for FakePublisher {
    async fn publish(
        &self,
        notifications: &[OutgoingNotification],
        _: &[Watermark],
    ) -> Result<Published, TransientError> {
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
        let outcomes = notifications.iter().map(publish).collect();
        Ok(Published { outcomes, watermarks: Vec::new() })
    }

    async fn watermarks(
        &self,
        sources: &[Arc<str>],
    ) -> Result<Vec<StoredWatermark>, TransientError> {
        self.time.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(vec![StoredWatermark::new(); sources.len()])
    }

    async fn time(&self) -> Result<i64, TransientError> {
        Ok(self.time.load(std::sync::atomic::Ordering::Relaxed))
    }
}
