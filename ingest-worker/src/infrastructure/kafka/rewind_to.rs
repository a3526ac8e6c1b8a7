//! From where a partition is read again, as its watermarks say.

use std::time::Duration;

use crate::notification::loss_time::LossTime;

/// Where a partition is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewindTo {
    /// From this offset, which a watermark states.
    Offset {
        /// The offset.
        from: i64,
        /// Records below this offset are restored to the histories only.
        silent_until: i64,
        /// When Redis lost data.
        loss: LossTime,
    },
    /// From the first record that is at most so old: a watermark is missing.
    Age {
        /// The age.
        max: Duration,
        /// The offset that another watermark states: it is read from there at the latest, and
        /// records below it are restored to the histories only. Without it, all that were finished.
        silent_until: Option<i64>,
        /// When Redis lost data.
        loss: LossTime,
    },
}

impl RewindTo {
    /// Returns the offset below which records are restored to the histories only: also those before
    /// a watermark that is ahead of this worker, as another one has finished them.
    #[must_use]
    pub fn silent_until(self) -> Option<i64> {
        match self {
            Self::Offset { from, silent_until, .. } => Some(silent_until.max(from)),
            Self::Age { silent_until, .. } => silent_until,
        }
    }

    /// Returns when Redis lost data.
    #[must_use]
    pub fn loss(self) -> LossTime {
        match self {
            Self::Offset { loss, .. } | Self::Age { loss, .. } => loss,
        }
    }
}
