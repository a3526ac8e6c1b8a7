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

impl Outcome {
    /// The outcome's name in metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Duplicate => "duplicate",
            Self::Ignored(_) => "ignored",
            Self::DeadLetter(_) => "dead_lettered",
            Self::OwnerUnknown => "waiting",
        }
    }
}

/// Why a record is no notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// There is no route for its type, nor for its topic.
    NoRoute,
    /// Events like it are by rule no notification.
    ByRule,
    /// It is older than this deployment tells.
    TooOld,
}

impl Ignored {
    /// The reason's name in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::ByRule => "by_rule",
            Self::TooOld => "too_old",
        }
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

/// The kinds of fault that lead to the dead-letter topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Reason {
    /// Not UTF-8 JSON.
    NotJson,
    /// JSON without the required parts of an envelope.
    NoEnvelope,
    /// A payload of the wrong shape, or one that names no subject.
    Malformed,
    /// Nobody said in time whose batch or class it is.
    RecipientUnknown,
}

impl Reason {
    /// The reason's name in metrics and in the header `dlq.reason`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NoEnvelope => "no_envelope",
            Self::Malformed => "malformed",
            Self::RecipientUnknown => "recipient_unknown",
        }
    }

    /// With where the fault was found.
    #[must_use]
    pub fn at(self, detail: impl Into<String>) -> Rejection {
        Rejection { reason: self, detail: detail.into() }
    }
}
