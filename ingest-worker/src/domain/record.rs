//! The domain's input, a [`Record`], and its output, an [`Outcome`].

use shared::time::Timestamp;

use super::ordering::OrderingKey;
use crate::notification::{loss_time::LossTime, publisher::TransientError};

/// One record, borrowed from the client that read it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The topic it was read from.
    pub topic: &'a str,
    /// The record's timestamp.
    pub written_at: Option<Timestamp>,
    /// The envelope; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The header `event_id`, which takes precedence over the envelope's.
    pub event_id: Option<&'a str>,
    /// The header `traceparent`, which takes precedence over the envelope's.
    pub traceparent: Option<&'a str>,
    /// Whether the wait for its owner has reached its limit.
    pub wait_expired: bool,
    /// Its number in the order of reading, if it has been parked.
    pub order: Option<u64>,
    /// Whether its partition was reset to an earlier offset, so that it may have been processed
    /// before.
    pub is_reread: bool,
    /// Set if its notification may have been published before, and Redis may have lost it.
    pub restore: Option<Restore>,
}

/// What becomes of a notification that may have been published before, unless Redis still has its
/// claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// Its record was not finished: it is published.
    Unfinished,
    /// Its record was finished: it is published again, as subscribers may not have received it.
    Publish,
    /// Its record was finished: it is added to the user's history, and published only where that
    /// history has survived the loss, so that clients may have resumed in it.
    HistoryOnly(LossTime),
}

impl Restore {
    /// Returns whether the record was finished before it is read again.
    #[must_use]
    pub fn was_finished(self) -> bool {
        self != Self::Unfinished
    }
}

/// The result of processing a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its notification was published.
    Published,
    /// Its notification was published before, lost by Redis, and is stored again.
    Restored,
    /// Its notification had been published before.
    Duplicate,
    /// It is no notification.
    Ignored(IgnoreReason),
    /// It cannot be processed; it goes to the dead-letter topic.
    DeadLetter(Rejection),
    /// It cannot be finished now; it has to be processed again.
    Parked(Box<Parking>),
}

/// Why a record cannot be finished now, and what it holds up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parking {
    /// The reason.
    pub(crate) reason: ParkReason,
    /// Records with one of these keys have to wait for it.
    pub(crate) keys: Vec<OrderingKey>,
    /// The error of a backend, if one is the reason.
    pub(crate) error: Option<TransientError>,
}

shared::label! {
    /// The reason for which a record is parked.
    pub(crate) enum ParkReason as "reason" {
        /// The owner of its batch or class is not known yet.
        OwnerUnknown = "owner_unknown",
        /// Redis refused to publish its notification.
        RedisRefused = "redis_refused",
        /// A record that was read before it and has a common key is parked.
        Order = "order",
        /// It is a dead letter that the dead-letter topic refused.
        DeadLetterRefused = "dead_letter_refused",
    }
}

shared::label! {
    /// The final outcome of a record.
    pub(crate) enum OutcomeKind as "outcome" {
        /// Its notification was published.
        Published = "published",
        /// Its notification was published before, lost by Redis, and is stored again.
        Restored = "restored",
        /// Its notification had been published before.
        Duplicate = "duplicate",
        /// It is no notification.
        Ignored = "ignored",
        /// It was written to the dead-letter topic.
        DeadLettered = "dead_lettered",
    }
}

impl Outcome {
    /// Returns the outcome of a record that is parked.
    pub(crate) fn parked(
        reason: ParkReason,
        keys: Vec<OrderingKey>,
        error: Option<TransientError>,
    ) -> Self {
        Self::Parked(Box::new(Parking { reason, keys, error }))
    }

    /// Returns the kind of a final outcome; `None` if the record is processed again.
    #[must_use]
    pub(crate) fn kind(&self) -> Option<OutcomeKind> {
        match self {
            Self::Published => Some(OutcomeKind::Published),
            Self::Restored => Some(OutcomeKind::Restored),
            Self::Duplicate => Some(OutcomeKind::Duplicate),
            Self::Ignored(_) => Some(OutcomeKind::Ignored),
            Self::DeadLetter(_) => Some(OutcomeKind::DeadLettered),
            Self::Parked(_) => None,
        }
    }
}

shared::label! {
    /// Why a record is no notification.
    pub enum IgnoreReason as "reason" {
        /// Neither its event type nor its topic has a route.
        NoRoute = "no_route",
        /// By rule, events like it are no notifications.
        ByRule = "by_rule",
        /// `NOTIFICATION_SOURCE` selects another event for its fact.
        OtherSource = "other_source",
        /// It is older than `MAX_EVENT_AGE`, or read again after its claim has expired.
        TooOld = "too_old",
        /// It was finished without a notification before its partition was rewound.
        Rewound = "rewound",
    }
}

/// Why a record cannot be processed; quotes none of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The kind of fault, header `dlq.reason`.
    pub reason: DeadLetterReason,
    /// The rule that was broken and where, header `dlq.detail`.
    pub detail: String,
}

shared::label! {
    /// The kinds of fault that lead to the dead-letter topic, as in its header `dlq.reason`.
    #[derive(clap::ValueEnum)]
    #[value(rename_all = "snake_case")]
    pub enum DeadLetterReason as "reason" {
        /// Not UTF-8 JSON.
        NotJson = "not_json",
        /// JSON without the required parts of an envelope.
        NoEnvelope = "no_envelope",
        /// A payload of the wrong shape, or one that names no subject.
        Malformed = "malformed",
        /// The owner of its batch or class did not become known in time.
        RecipientUnknown = "recipient_unknown",
        /// Processing it panicked: a defect of the worker.
        Internal = "internal",
        /// Not read: `offsets skip` has moved the group past it.
        Skipped = "skipped",
    }
}

impl DeadLetterReason {
    /// Returns a rejection for this reason.
    #[must_use]
    pub(crate) fn with_detail(self, detail: impl Into<String>) -> Rejection {
        Rejection { reason: self, detail: detail.into() }
    }
}
