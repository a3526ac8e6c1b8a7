//! Reads the dead-letter topic, or another one, to its end as it was at the start.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::BorrowedMessage,
    metadata::MetadataTopic,
    types::RDKafkaErrorCode,
};
use shared::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::header;
use crate::{
    config::Config,
    infrastructure::kafka::{
        client_config::{self, set_properties},
        client_context::CommandContext,
        headers,
    },
};

/// Time limit for the brokers to answer a request, and for the next record to arrive.
const BROKER_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a poll waits before it looks for an interrupt.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

/// How often progress is printed.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

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

/// A reader of one topic at a time.
pub(crate) struct Reader {
    consumer: BaseConsumer<CommandContext>,
    pub(super) topic: String,
    servers: String,
    /// The first offset and the end of each partition.
    extent: HashMap<i32, (i64, i64)>,
    interrupt: CancellationToken,
}

impl Reader {
    /// Connects and notes where the dead-letter topic ends.
    pub(crate) fn connect(config: &Config, interrupt: CancellationToken) -> anyhow::Result<Self> {
        let settings = &config.settings;
        let mut client = client_config::common(config);
        set_properties(&mut client, config);
        client
            .set("group.id", format!("{}-dead-letters", settings.kafka_consumer_group))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        // A reader without a group membership; a static member's name belongs to a worker.
        client.remove("group.instance.id");
        let mut reader = Self {
            consumer: client
                .create_with_context(CommandContext)
                .context("Kafka consumer settings")?,
            topic: settings.dead_letter_topic.clone(),
            servers: settings.kafka_bootstrap_servers.clone(),
            extent: HashMap::new(),
            interrupt,
        };
        reader.extent = reader.read_extent().with_context(|| reader.unavailable())?;
        Ok(reader)
    }

    /// Turns to another topic, and notes where it ends; a topic that does not exist is empty.
    pub(crate) fn turn_to(&mut self, topic: &str) -> anyhow::Result<()> {
        topic.clone_into(&mut self.topic);
        self.extent = self.read_extent().with_context(|| self.unavailable())?;
        Ok(())
    }

    /// Leaves out the records that were written before `since`.
    pub(crate) fn skip_older(&mut self, since: Timestamp) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        for partition in self.extent.keys() {
            let since = Offset::Offset(since.as_millisecond());
            list.add_partition_offset(&self.topic, *partition, since)?;
        }
        for found in self.consumer.offsets_for_times(list, BROKER_TIMEOUT)?.elements() {
            let Some((first, end)) = self.extent.get_mut(&found.partition()) else { continue };
            *first = match found.offset() {
                Offset::Offset(offset) => offset,
                // All records are older.
                _ => *end,
            };
        }
        Ok(())
    }

    /// Leaves out the records before an offset of each partition.
    pub(crate) fn skip_before(&mut self, offsets: &HashMap<i32, i64>) {
        for (partition, (first, _)) in &mut self.extent {
            *first = offsets.get(partition).map_or(*first, |offset| (*first).max(*offset));
        }
    }

    /// Returns the partitions of the topic.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.extent.keys().copied()
    }

    fn unavailable(&self) -> String {
        format!("no Kafka broker answered within {BROKER_TIMEOUT:?} (brokers: {})", self.servers)
    }

    fn read_extent(&self) -> Result<HashMap<i32, (i64, i64)>, KafkaError> {
        let deadline = Instant::now() + BROKER_TIMEOUT;
        let left = || deadline.saturating_duration_since(Instant::now());
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), left())?;
        let partitions = metadata.topics().first().map(MetadataTopic::partitions);
        let partitions = partitions.unwrap_or_default().iter();
        let extent = partitions.map(|partition| {
            let extent = self.consumer.fetch_watermarks(&self.topic, partition.id(), left())?;
            Ok((partition.id(), extent))
        });
        extent.collect()
    }

    /// Returns why no record can be sent to a topic, unless the brokers have the topic.
    pub(super) fn topic_failure(&self, topic: &str) -> Option<String> {
        let metadata = match self.consumer.fetch_metadata(Some(topic), BROKER_TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => return Some(error.to_string()),
        };
        let error = metadata.topics().first()?.error()?;
        Some(RDKafkaErrorCode::from(error).to_string())
    }

    /// Returns the positions of the dead letters that were replayed.
    pub(super) fn replayed(&self) -> anyhow::Result<HashSet<Position>> {
        let mut replayed = HashSet::new();
        self.read_all(|record| {
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
        self.read_all(
            |record| {
                if replayed_position(record).is_none() { visit(record) } else { Ok(()) }
            },
        )
    }

    /// Calls `visit` with each record, in the order of each partition.
    pub(crate) fn read_all(
        &self,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut unread: HashMap<i32, i64> = HashMap::new();
        let mut start = TopicPartitionList::new();
        for (partition, (first, end)) in self.extent.iter().filter(|(_, (first, end))| first < end)
        {
            start.add_partition_offset(&self.topic, *partition, Offset::Offset(*first))?;
            unread.insert(*partition, *end);
        }
        self.consumer.assign(&start)?;
        let (mut progress, mut last_answer) = (Progress::new(), Instant::now());
        while !unread.is_empty() {
            ensure!(!self.interrupt.is_cancelled(), "interrupted");
            let Some(polled) = self.consumer.poll(POLL_TIMEOUT) else {
                ensure!(last_answer.elapsed() < BROKER_TIMEOUT, self.unavailable());
                continue;
            };
            last_answer = Instant::now();
            match polled {
                Err(KafkaError::PartitionEOF(partition)) => {
                    unread.remove(&partition);
                }
                Err(error) => return Err(error.into()),
                Ok(record) => {
                    let Some(end) = unread.get(&record.partition()).copied() else { continue };
                    progress.read();
                    if record.offset() < end {
                        visit(&record)?;
                    }
                    if record.offset() + 1 >= end {
                        unread.remove(&record.partition());
                    }
                }
            }
            last_answer = Instant::now();
        }
        Ok(())
    }
}

/// Prints the number of records read, every [`PROGRESS_INTERVAL`].
struct Progress {
    records: u64,
    printed_at: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { records: 0, printed_at: Instant::now() }
    }

    fn read(&mut self) {
        self.records += 1;
        if self.printed_at.elapsed() >= PROGRESS_INTERVAL {
            eprintln!("{} records read", self.records);
            self.printed_at = Instant::now();
        }
    }
}

/// Returns the position of the dead letter that was replayed, if the record is a note of that.
fn replayed_position(record: &BorrowedMessage<'_>) -> Option<Position> {
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
