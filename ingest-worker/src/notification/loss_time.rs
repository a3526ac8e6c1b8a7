//! What is known about when a store lost data: it decides which histories have survived the loss.

use std::fmt;

/// When a store lost data, in milliseconds by its clock. Of two, the lesser is the more cautious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossTime {
    /// The loss was noticed at this time, and until when the store had its data is not known: a
    /// history whose first entry is older has survived. One without entries may have been made
    /// since.
    NoticedAt(i64),
    /// The store still had its data at this time: a history that is older has survived.
    IntactUntil(i64),
}

impl LossTime {
    /// Returns the time.
    #[must_use]
    pub fn millis(self) -> i64 {
        match self {
            Self::NoticedAt(time) | Self::IntactUntil(time) => time,
        }
    }

    /// Reads the number that stands for it in a watermark.
    pub(crate) fn of_stored(number: i64) -> Self {
        if number < 0 {
            Self::NoticedAt(number.saturating_neg())
        } else {
            Self::IntactUntil(number)
        }
    }

    /// Returns the number that stands for it in a watermark: the time, negative if that is when the
    /// loss was noticed. Workers of other versions read it.
    pub(crate) fn to_stored(self) -> i64 {
        match self {
            Self::NoticedAt(time) => -time,
            Self::IntactUntil(time) => time,
        }
    }
}

impl Default for LossTime {
    /// Before all histories: none has survived.
    fn default() -> Self {
        Self::IntactUntil(0)
    }
}

/// As the script that publishes reads it.
impl fmt::Display for LossTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoticedAt(time) => write!(f, "noticed-at {time}"),
            Self::IntactUntil(time) => write!(f, "intact-until {time}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_number_is_negative_if_only_the_time_is_known_at_which_the_loss_was_noticed() {
        for (number, loss) in [(-7, LossTime::NoticedAt(7)), (7, LossTime::IntactUntil(7))] {
            assert_eq!((LossTime::of_stored(number), loss.to_stored()), (loss, number));
        }
        assert_eq!(LossTime::of_stored(i64::MIN), LossTime::NoticedAt(i64::MAX));
    }

    #[test]
    fn the_earliest_of_several_times_counts_and_first_those_at_which_a_loss_was_noticed() {
        use LossTime::{IntactUntil, NoticedAt};
        let times = [IntactUntil(3), NoticedAt(9), IntactUntil(1), NoticedAt(7)];
        assert_eq!(times.into_iter().min(), Some(NoticedAt(7)));
    }
}
