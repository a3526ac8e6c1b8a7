//! The value of a watermark after its token: the position of a partition, as a line of words.

use std::fmt;

use crate::notification::loss_time::LossTime;

/// Precedes the offset up to which records are read again for the histories only, and the number
/// that says when Redis lost data.
const HISTORY_ONLY_UNTIL: &str = "history-until";

/// Precedes the offset from which the partition was rewound, by a reset to an earlier offset.
const REREAD_UNTIL: &str = "reread-until";

/// Precedes the id of the topic in values under a name without it, which `offsets skip` and earlier
/// workers write.
const TOPIC_ID: &str = "topic-id";

/// Precedes the time in milliseconds at which the server stored the value; it appends both.
const STORED_AT: &str = "at";

/// A position of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::infrastructure::kafka) struct Position<'a> {
    /// The first offset that is not finished.
    pub(in crate::infrastructure::kafka) next: i64,
    /// Offsets below this one are restored to the histories only, as Redis has lost data; none if
    /// that is not in progress.
    pub(in crate::infrastructure::kafka) silent_until: Option<(i64, LossTime)>,
    /// Offsets below this one may have been processed before a reset; none if all of them are
    /// finished again.
    pub(in crate::infrastructure::kafka) reread_until: Option<i64>,
    /// The id of the topic; none in a value under a name that has it.
    pub(in crate::infrastructure::kafka) topic_id: Option<&'a str>,
    /// When the server stored it; none in a value to write.
    pub(in crate::infrastructure::kafka) stored_at: Option<i64>,
}

impl<'a> Position<'a> {
    /// Parses a value; `None` if no worker wrote it.
    pub(super) fn of(value: &'a str) -> Option<Self> {
        let mut words = value.split(' ').skip(1);
        let next = words.next()?.parse().ok()?;
        let mut position = Self { next, ..Self::default() };
        while let Some(name) = words.next() {
            let word = words.next()?;
            match name {
                HISTORY_ONLY_UNTIL => {
                    let loss = LossTime::of_stored(words.next()?.parse().ok()?);
                    position.silent_until = Some((word.parse().ok()?, loss));
                }
                REREAD_UNTIL => position.reread_until = Some(word.parse().ok()?),
                TOPIC_ID => position.topic_id = Some(word),
                STORED_AT => position.stored_at = Some(word.parse().ok()?),
                _ => {}
            }
        }
        Some(position)
    }

    /// Returns whether its offset is that of another topic than the one with this id, which has the
    /// same name: it was deleted and created again, or is on another cluster.
    pub(super) fn is_of_other_topic(&self, topic_id: Option<&str>) -> bool {
        self.topic_id.zip(topic_id).is_some_and(|(stored, present)| stored != present)
    }
}

impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.next)?;
        if let Some((until, loss)) = self.silent_until {
            write!(f, " {HISTORY_ONLY_UNTIL} {until} {}", loss.to_stored())?;
        }
        if let Some(until) = self.reread_until {
            write!(f, " {REREAD_UNTIL} {until}")?;
        }
        if let Some(id) = self.topic_id {
            write!(f, " {TOPIC_ID} {id}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let losses = [LossTime::IntactUntil(1), LossTime::NoticedAt(1)];
        let [intact, noticed] = losses.map(|loss| Some((9, loss)));
        for (silent_until, reread_until) in
            [(None, None), (intact, None), (None, Some(12)), (noticed, Some(12))]
        {
            let position = Position { next: 7, silent_until, reread_until, ..Position::default() };
            assert_eq!(Position::of(&format!("token.1 {position}")).as_ref(), Some(&position));
            let stored = format!("token.1 {position} topic-id a-_1 at 5");
            let expected = Position { topic_id: Some("a-_1"), stored_at: Some(5), ..position };
            assert_eq!(Position::of(&stored), Some(expected));
        }
        for foreign in
            ["", "token.1", "token.1 x", "token.1 7 history-until 9", "token.1 7 topic-id"]
        {
            assert_eq!(Position::of(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn a_position_without_topic_id_may_be_that_of_any_topic() {
        let of = |topic_id| Position { next: 7, topic_id, ..Position::default() };
        assert!(of(Some("a")).is_of_other_topic(Some("b")));
        assert!(!of(Some("a")).is_of_other_topic(Some("a")));
        assert!(!of(Some("a")).is_of_other_topic(None) && !of(None).is_of_other_topic(Some("a")));
    }
}
