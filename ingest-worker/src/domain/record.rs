//! What goes into the domain, a [`Record`], and what comes out of it, an [`Outcome`].

use shared::time::Timestamp;

/// One record as it was read, borrowed from whoever read it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// Where it was read.
    pub topic: &'a str,
    /// When it was written.
    pub written_at: Option<Timestamp>,
    /// The envelope; a tombstone has none.
    pub value: Option<&'a [u8]>,
    /// The header `event_id`, which wins over the envelope's.
    pub event_id: Option<&'a str>,
    /// The header `traceparent`, which wins over the envelope's.
    pub traceparent: Option<&'a str>,
    /// Whether it has waited for its owner as long as it may.
    pub out_of_patience: bool,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its user has been told.
    Published,
    /// Its user had been told before.
    Duplicate,
    /// Nobody is to be told.
    Ignored(Ignored),
    /// It cannot be used; it goes to the dead-letter topic.
    DeadLetter(Rejection),
    /// Its owner is not known yet; it is to be given again later.
    OwnerUnknown,
}

shared::label! {
    /// How a record ends.
    pub enum End as "outcome" {
        /// Its user has been told.
        Published = "published",
        /// Its user had been told before.
        Duplicate = "duplicate",
        /// Nobody is told.
        Ignored = "ignored",
        /// It is in the dead-letter topic.
        DeadLettered = "dead_lettered",
    }
}

impl Outcome {
    /// The end that it is; none for a record that is not finished.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match self {
            Self::Published => Some(End::Published),
            Self::Duplicate => Some(End::Duplicate),
            Self::Ignored(_) => Some(End::Ignored),
            Self::DeadLetter(_) => Some(End::DeadLettered),
            Self::OwnerUnknown => None,
        }
    }
}

shared::label! {
    /// Why a record is no notification.
    pub enum Ignored as "reason" {
        /// There is no route for its type, nor for its topic.
        NoRoute = "no_route",
        /// Events like it are by rule no notification.
        ByRule = "by_rule",
        /// It is older than this deployment tells.
        TooOld = "too_old",
    }
}

/// Why a record cannot be used, in words that repeat nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The kind of fault.
    pub reason: Reason,
    /// Where it was found.
    pub detail: String,
}

shared::label! {
    /// The kinds of fault that lead to the dead-letter topic, as in its header `dlq.reason`.
    #[derive(clap::ValueEnum)]
    #[value(rename_all = "snake_case")]
    pub enum Reason as "reason" {
        /// Not UTF-8 JSON.
        NotJson = "not_json",
        /// JSON without the required parts of an envelope.
        NoEnvelope = "no_envelope",
        /// A payload of the wrong shape, or one that names no subject.
        Malformed = "malformed",
        /// Nobody said in time whose batch or class it is.
        RecipientUnknown = "recipient_unknown",
    }
}

impl Reason {
    /// With where the fault was found.
    #[must_use]
    pub fn at(self, detail: impl Into<String>) -> Rejection {
        Rejection { reason: self, detail: detail.into() }
    }
}
