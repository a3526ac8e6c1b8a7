//! From where a partition is read again, as its watermarks say.

use std::time::Duration;

/// Where a partition is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewindTo {
    /// From this offset, which a watermark states.
    Offset {
        /// The offset.
        from: i64,
        /// Records below this offset are restored to the histories only.
        silent_until: i64,
        /// See [`RewindTo::intact_until`].
        intact_until: i64,
    },
    /// From the first record that is at most so old: a watermark is missing.
    Age {
        /// The age.
        max: Duration,
        /// The offset that another watermark states: it is read from there at the latest, and
        /// records below it are restored to the histories only. Without it, all that were finished.
        silent_until: Option<i64>,
        /// See [`RewindTo::intact_until`].
        intact_until: i64,
    },
}

impl RewindTo {
    /// Returns the offset below which records are restored to the histories only.
    #[must_use]
    pub fn silent_until(self) -> Option<i64> {
        match self {
            Self::Offset { silent_until, .. } => Some(silent_until),
            Self::Age { silent_until, .. } => silent_until,
        }
    }

    /// Returns the last time, in milliseconds, at which Redis was known to have its data: a history
    /// that is older has survived. Negative, if that is not known: the time at which the loss was
    /// noticed.
    #[must_use]
    pub fn intact_until(self) -> i64 {
        match self {
            Self::Offset { intact_until, .. } | Self::Age { intact_until, .. } => intact_until,
        }
    }
}
