//! Reads the dead-letter topic: dead letters, and the notes that some were replayed.

use std::{collections::HashSet, fmt, str::FromStr};

use rdkafka::{Message as _, message::BorrowedMessage};
use tokio_util::sync::CancellationToken;

use super::header;
use crate::{
    config::Config,
    infrastructure::kafka::{headers, topic_reader::TopicReader},
};

/// A position in the dead-letter topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Position {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl FromStr for Position {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = text.split_once(':').and_then(|(partition, offset)| {
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        position.ok_or("a position is PARTITION:OFFSET, as in 0:42")
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl Position {
    pub(super) fn of(dead_letter: &BorrowedMessage<'_>) -> Self {
        Self { partition: dead_letter.partition(), offset: dead_letter.offset() }
    }
}

/// A reader of the dead-letter topic.
pub(super) struct Reader {
    pub(super) topic: String,
    pub(super) records: TopicReader,
}

impl Reader {
    /// Connects and notes where the topic ends.
    pub(super) fn connect(config: &Config, interrupt: CancellationToken) -> anyhow::Result<Self> {
        let topic = config.settings.dead_letter_topic.clone();
        let records = TopicReader::connect(config, [topic.as_str()], interrupt)?;
        Ok(Self { topic, records })
    }

    /// Returns the positions of the dead letters that were replayed.
    pub(super) fn replayed(&self) -> anyhow::Result<HashSet<Position>> {
        let mut replayed = HashSet::new();
        self.records.read_all(|record| {
            replayed.extend(replayed_position(record));
            Ok(())
        })?;
        Ok(replayed)
    }

    /// Calls `visit` with each dead letter, in the order of each partition.
    pub(super) fn for_each_dead_letter(
        &self,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.records.read_all(|record| {
            if replayed_position(record).is_none() { visit(record) } else { Ok(()) }
        })
    }
}

/// Returns the position of the dead letter that was replayed, if the record is a note of that.
pub(super) fn replayed_position(record: &BorrowedMessage<'_>) -> Option<Position> {
    // A dead letter that an earlier version wrote may have such a header of its record's.
    let is_dead_letter = !header_value(record, header::REASON).is_empty();
    header_value(record, header::REPLAYED).parse().ok().filter(|_| !is_dead_letter)
}

/// Returns the text of a header that the worker has added, empty without one.
pub(super) fn header_value(dead_letter: &BorrowedMessage<'_>, name: &str) -> String {
    let value = headers::added(dead_letter.headers(), name);
    value.map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_partition_and_an_offset() {
        assert_eq!("3:42".parse(), Ok(Position { partition: 3, offset: 42 }));
        assert_eq!(Position { partition: 3, offset: 42 }.to_string(), "3:42");
        for bad in ["", "42", "a:b", "1:2:3", "-"] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }
}
