//! The way out: a notification for a user, published once.

use std::{fmt, future::Future};

use shared::user::UserId;
use uuid::Uuid;

/// What makes two events the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The id its producer gave it.
    EventId(Uuid),
    /// SHA-256 of its type and payload.
    Content([u8; 32]),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventId(id) => id.fmt(f),
            Self::Content(hash) => hash.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// One notification on its way to one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Who is told.
    pub user: UserId,
    /// Publishes it once.
    pub identity: Identity,
    /// The notification's text, without the id that publishing gives it.
    pub text: String,
}

/// What became of a [`Delivery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It is in the user's history, and whoever listens has it.
    Published,
    /// It had been published before.
    Duplicate,
    /// It can never be published there, and why.
    Refused(&'static str),
}

shared::label! {
    /// What the worker needs besides itself.
    pub enum System as "system" {
        /// Where notifications are published.
        Redis = "redis",
        /// Where dead letters are written.
        Kafka = "kafka",
    }
}

/// The outside world does not answer as it should; the same again later may work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", .system.label())]
pub struct NotNow {
    /// What failed.
    pub system: System,
    /// How, for the log; without payloads and secrets.
    pub detail: String,
}

/// Publishes notifications. An implementation guarantees that a delivery is published at most
/// once per user and identity, in the order given, and that a receipt means it is stored.
pub trait Publisher: Send + Sync {
    /// Publishes all of `deliveries`, with a receipt each.
    ///
    /// # Errors
    /// [`NotNow`] if any of them is in doubt; all of them may then be given again.
    fn publish(
        &self,
        deliveries: &[Delivery],
    ) -> impl Future<Output = Result<Vec<Receipt>, NotNow>> + Send;
}

/// Remembers what was published, in memory; can be told to fail.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakePublisher {
    pub(crate) published: std::sync::Mutex<Vec<Delivery>>,
    pub(crate) fails: std::sync::atomic::AtomicBool,
    /// A user who can never be told.
    pub(crate) refused: Option<UserId>,
}

#[cfg(test)]
impl Publisher for FakePublisher {
    async fn publish(&self, deliveries: &[Delivery]) -> Result<Vec<Receipt>, NotNow> {
        if self.fails.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(NotNow { system: System::Redis, detail: "told to fail".into() });
        }
        let mut published = self.published.lock().unwrap();
        let receipt = |delivery: &Delivery| {
            if self.refused.as_ref() == Some(&delivery.user) {
                return Receipt::Refused("told to refuse");
            }
            let same =
                |old: &Delivery| (&old.user, old.identity) == (&delivery.user, delivery.identity);
            if published.iter().any(same) {
                return Receipt::Duplicate;
            }
            published.push(delivery.clone());
            Receipt::Published
        };
        Ok(deliveries.iter().map(receipt).collect())
    }
}
