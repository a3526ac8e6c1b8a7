//! Reads topics, for commands: each partition from an offset to the end that it had at the start.
//! All partitions are read at once. Joins no group and commits nothing. Batches that cannot be read
//! are named and left out.

mod unread;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::BorrowedMessage,
    metadata::MetadataTopic,
    types::RDKafkaErrorCode,
};
use shared::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    client_config::{self, set_properties},
    client_context::{CommandContext, is_batch_error},
    health::unreadable::damage_at,
    offsets::Partition,
};
use crate::config::Config;
use unread::Unread;

/// Time limit for the brokers to answer a request, and for the next record to arrive.
pub(super) const BROKER_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a poll waits before it looks for an interrupt.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

/// How long an error of a batch may come again after the batch was left out.
const REPEATED_WITHIN: Duration = Duration::from_secs(1);

/// How often progress is printed.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// A reader of some topics; those that do not exist are empty.
pub(crate) struct TopicReader {
    config: Config,
    properties: ClientConfig,
    client: BaseConsumer<CommandContext>,
    /// The offsets to read.
    extents: BTreeMap<Partition, Range<i64>>,
    interrupt: CancellationToken,
}

impl TopicReader {
    /// Connects and notes where each partition of the topics begins and ends.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub(crate) fn connect<'t>(
        config: &Config,
        topics: impl IntoIterator<Item = &'t str>,
        interrupt: CancellationToken,
    ) -> anyhow::Result<Self> {
        let settings = &config.settings;
        let mut properties = client_config::common(config);
        set_properties(&mut properties, config);
        properties
            .set("group.id", format!("{}-dead-letters", settings.kafka_consumer_group))
            .set("enable.auto.commit", "false")
            // A partition that is read to its end delays the fetch of others by at most this.
            .set("fetch.wait.max.ms", "20")
            // Fetch positions show the end of partitions whose last offset has no record.
            .set("statistics.interval.ms", "200");
        // A reader without a group membership; a static member's name belongs to a worker.
        properties.remove("group.instance.id");
        let client = properties.create_with_context(CommandContext::default());
        let mut reader = Self {
            client: client.context("Kafka consumer settings")?,
            config: config.clone(),
            properties,
            extents: BTreeMap::new(),
            interrupt,
        };
        let topics = topics.into_iter().collect::<Vec<_>>();
        reader.extents = reader.read_extents(&topics).with_context(|| reader.unavailable())?;
        Ok(reader)
    }

    /// Leaves out the records that were written before `since`.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub(crate) fn skip_older(&mut self, since: Timestamp) -> anyhow::Result<()> {
        let found = self.offsets_at(Offset::Offset(since.as_millisecond()))?;
        for (partition, extent) in &mut self.extents {
            // Without an offset all records are older.
            extent.start = found.get(partition).copied().unwrap_or(extent.end);
        }
        Ok(())
    }

    /// Leaves out the records before an offset of each partition.
    pub(crate) fn skip_before(&mut self, offsets: &HashMap<Partition, i64>) {
        for (partition, extent) in &mut self.extents {
            let offset = offsets.get(partition).copied();
            extent.start = extent.start.max(offset.unwrap_or(extent.start));
        }
    }

    /// Returns all partitions of the topics.
    pub(crate) fn partitions(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(self.extents.len());
        for (topic, partition) in self.extents.keys() {
            list.add_partition(topic, *partition);
        }
        list
    }

    fn unavailable(&self) -> String {
        let servers = &self.config.settings.kafka_bootstrap_servers;
        format!("no Kafka broker answered within {BROKER_TIMEOUT:?} (brokers: {servers})")
    }

    fn read_extents(&mut self, topics: &[&str]) -> anyhow::Result<BTreeMap<Partition, Range<i64>>> {
        let metadata = self.client.fetch_metadata(None, BROKER_TIMEOUT)?;
        for topic in metadata.topics().iter().filter(|topic| topics.contains(&topic.name())) {
            for partition in topic.partitions() {
                self.extents.insert((topic.name().to_owned(), partition.id()), 0..0);
            }
        }
        // A time of -1 or -2 asks for the end or the beginning.
        let ends = self.offsets_at(Offset::End)?;
        let beginnings = self.offsets_at(Offset::Beginning)?;
        let extents = beginnings.into_iter().map(|(partition, beginning)| {
            let end = ends.get(&partition).copied().unwrap_or(beginning);
            (partition, beginning..end)
        });
        Ok(extents.collect())
    }

    /// Returns the first offset of each partition that is not before a time; none if all are.
    fn offsets_at(&self, time: Offset) -> Result<HashMap<Partition, i64>, KafkaError> {
        let mut list = self.partitions();
        if list.count() == 0 {
            return Ok(HashMap::new());
        }
        list.set_all_offsets(time)?;
        let found = self.client.offsets_for_times(list, BROKER_TIMEOUT)?;
        let mut offsets = HashMap::new();
        for element in found.elements() {
            element.error()?;
            let Some(offset) = element.offset().to_raw().filter(|offset| *offset >= 0) else {
                continue;
            };
            offsets.insert((element.topic().to_owned(), element.partition()), offset);
        }
        Ok(offsets)
    }

    /// Returns why no record can be sent to a topic, unless the brokers have the topic.
    pub(super) fn topic_failure(&self, topic: &str) -> Option<String> {
        let metadata = match self.client.fetch_metadata(Some(topic), BROKER_TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => return Some(error.to_string()),
        };
        let error = metadata.topics().first().and_then(MetadataTopic::error)?;
        Some(RDKafkaErrorCode::from(error).to_string())
    }

    /// Calls `visit` with each record, in the order of each partition.
    ///
    /// # Errors
    /// If `visit` fails, the brokers do not answer, or the command was interrupted.
    pub(crate) fn read_all(
        &self,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (mut start, mut unread) = (TopicPartitionList::new(), Unread::default());
        for (partition, extent) in self.extents.iter().filter(|(_, extent)| !extent.is_empty()) {
            start.add_partition_offset(&partition.0, partition.1, Offset::Offset(extent.start))?;
            unread.insert(partition, extent.clone());
        }
        if unread.is_empty() {
            return Ok(());
        }
        // The statistics of an earlier assignment would show the ends as reached.
        let context = CommandContext::default();
        let client: BaseConsumer<_> = self.properties.create_with_context(context)?;
        client.assign(&start)?;
        let (mut progress, mut last_answer) = (Progress::new(), Instant::now());
        let mut skipped_at: Option<Instant> = None;
        while !unread.is_empty() {
            ensure!(!self.interrupt.is_cancelled(), "interrupted");
            let polled = client.poll(POLL_TIMEOUT);
            if let Some(positions) = client.context().take_fetch_positions() {
                unread.remove_read(&positions);
            }
            match polled {
                None if last_answer.elapsed() < BROKER_TIMEOUT => continue,
                None => ensure!(self.skip_damaged(&client, &mut unread)?, self.unavailable()),
                // The end is known.
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) if is_batch_error(error.rdkafka_error_code(), "") => {
                    // The client repeats it several times a second, and may have done so just then.
                    let is_old = skipped_at.is_some_and(|at| at.elapsed() < REPEATED_WITHIN);
                    if !is_old && !self.skip_damaged(&client, &mut unread)? {
                        return Err(error.into());
                    }
                    skipped_at = skipped_at.filter(|_| is_old).or(Some(Instant::now()));
                }
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(record)) => {
                    progress.read();
                    if unread.take(&record) {
                        visit(&record)?;
                    }
                }
            }
            last_answer = Instant::now();
        }
        Ok(())
    }

    /// Continues behind the batches that cannot be read, and names them. Returns whether there are
    /// any.
    fn skip_damaged(
        &self,
        client: &BaseConsumer<CommandContext>,
        unread: &mut Unread,
    ) -> anyhow::Result<bool> {
        let mut found = false;
        for (partition, Range { start: next, end }) in unread.extents() {
            let Some(damage) = damage_at(&self.config, &partition, next) else { continue };
            found = true;
            let (topic, id) = &partition;
            let behind = damage.next_readable.unwrap_or(end).min(end);
            eprintln!(
                "{topic}[{id}]: the records from offset {next} to before {behind} cannot be read and \
                 are left out: {}",
                damage.cause
            );
            if behind < end {
                client.seek(topic, *id, Offset::Offset(behind), BROKER_TIMEOUT)?;
                unread.insert(&partition, behind..end);
            } else {
                unread.remove(&partition);
            }
        }
        Ok(found)
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
