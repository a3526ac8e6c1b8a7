//! Names the partitions whose next batch of records the client cannot read, which blocks them: the
//! batch is damaged, too large, or compressed by an unsupported codec. The client reports this
//! without the partition, or not at all, so a new client reads each suspect partition alone.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult},
};
use shared::metrics::PartitionGauge;
use tracing::{debug, error, info};

use super::stalled::Position;
use crate::{
    config::Config,
    infrastructure::kafka::{
        client_config::{self, METADATA_TIMEOUT},
        client_context::is_batch_error,
        offsets::Partition,
    },
};

/// Longest wait for the first record or error of a partition.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Offsets after an unreadable one at which reading is tried, one by one: more than most batches
/// have records.
const MAX_BATCH_RECORDS: i64 = 200;

/// The offset at which each unreadable partition is blocked.
#[derive(Debug, Default)]
pub(crate) struct UnreadablePartitions(BTreeMap<Partition, i64>);

/// What a new client has found at a position.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) cause: String,
    /// The first offset after it at which a record can be read.
    pub(crate) next_readable: Option<i64>,
    end: i64,
}

impl UnreadablePartitions {
    /// Takes the next position of every partition with unread records, and those of them that may
    /// be unreadable; blocks while a new client tries these. Logs each unreadable batch once.
    pub(crate) fn update(
        &mut self,
        config: &Config,
        unread: &[Position],
        suspects: Vec<Position>,
        gauge: &PartitionGauge,
    ) {
        let is_blocked = |position: &Position| unread.contains(position);
        self.0.retain(|partition, offset| {
            let position = (partition.clone(), *offset);
            let stays = is_blocked(&position);
            if !stays {
                let (topic, id) = partition;
                info!(kafka.topic = topic, kafka.partition = id, "partition is read again");
            }
            stays
        });
        for (partition, offset) in suspects {
            if self.0.get(&partition) != Some(&offset)
                && let Some(damage) = damage_at(config, &partition, offset)
            {
                damage.log(&partition, offset);
                self.0.insert(partition, offset);
            }
        }
        gauge.replace(&self.0);
    }
}

impl Damage {
    fn log(&self, (topic, partition): &Partition, offset: i64) {
        error!(
            kafka.topic = topic,
            kafka.partition = partition,
            kafka.offset = offset,
            next_readable_offset = self.next_readable,
            end_offset = self.end,
            cause = self.cause,
            "a batch of records cannot be read, the partition is blocked; see `offsets skip`"
        );
    }
}

/// Reads a partition at `offset` with a new client; blocks. Returns `None` if a record can be read,
/// or nothing is found out.
pub(crate) fn damage_at(config: &Config, partition: &Partition, offset: i64) -> Option<Damage> {
    probe(config, partition, offset).unwrap_or_else(|error| {
        debug!(%error, "new Kafka client could not be created");
        None
    })
}

/// Returns the first record from `offset` on that a new client can read, unless a damaged batch or
/// nothing comes first; blocks.
pub(crate) fn first_readable(
    config: &Config,
    partition: &Partition,
    offset: i64,
) -> KafkaResult<Option<i64>> {
    let client = probing_client(config)?;
    let read = read_at(&client, partition, offset)?;
    Ok(if let Read::Record(offset) = read { Some(offset) } else { None })
}

fn probe(config: &Config, partition: &Partition, offset: i64) -> KafkaResult<Option<Damage>> {
    let client = probing_client(config)?;
    let read = |at| read_at(&client, partition, at);
    let Read::Unreadable(cause) = read(offset)? else { return Ok(None) };
    let (_, end) = client.fetch_watermarks(&partition.0, partition.1, METADATA_TIMEOUT)?;
    let mut next_readable = None;
    for at in offset + 1..end.min(offset + MAX_BATCH_RECORDS) {
        match read(at)? {
            Read::Record(_) => next_readable = Some(at),
            Read::Unreadable(_) => continue,
            Read::Nothing => {}
        }
        break;
    }
    Ok(Some(Damage { cause, next_readable, end }))
}

/// What comes first when a partition is read.
enum Read {
    /// A record at this offset.
    Record(i64),
    Unreadable(String),
    Nothing,
}

fn probing_client(config: &Config) -> KafkaResult<BaseConsumer<BatchError>> {
    let mut settings = client_config::without_membership(config);
    // Also reports damage in records that are not compressed.
    settings.set("check.crcs", "true");
    settings.create_with_context(BatchError::default())
}

fn read_at(
    client: &BaseConsumer<BatchError>,
    (topic, partition): &Partition,
    offset: i64,
) -> KafkaResult<Read> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, *partition, Offset::Offset(offset))?;
    client.assign(&list)?;
    Ok(read_one(client))
}

fn read_one(client: &BaseConsumer<BatchError>) -> Read {
    client.context().take();
    let deadline = Instant::now() + PROBE_TIMEOUT;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        // Connection errors are retried by the client.
        if let Some(Ok(record)) = client.poll(left) {
            return Read::Record(record.offset());
        }
        if let Some(cause) = client.context().take() {
            return Read::Unreadable(cause);
        }
    }
    Read::Nothing
}

/// The first error that concerns a batch since it was last taken.
#[derive(Default)]
struct BatchError(Mutex<Option<String>>);

impl BatchError {
    fn take(&self) -> Option<String> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        // Each change is a single assignment, so a poisoned value is still consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for BatchError {
    fn error(&self, error: KafkaError, reason: &str) {
        if is_batch_error(error.rdkafka_error_code(), reason) {
            self.lock().get_or_insert_with(|| reason.to_owned());
        }
    }
}

impl ConsumerContext for BatchError {}
