//! Sends records like upstream services do, and reads topics.

pub mod raw;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    error::{KafkaError, KafkaResult},
    message::{Header, Headers as _, OwnedHeaders, OwnedMessage},
    producer::{FutureProducer, FutureRecord, Producer as _},
    types::RDKafkaErrorCode,
};
use tokio::time::{Instant, timeout_at};

use crate::{events::Event, kafka::Kafka};

/// Longest wait for one answer of the broker.
const SEND_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for the acknowledgement of a record, across restarts of the broker.
const WRITE_LIMIT: Duration = Duration::from_mins(2);
/// `message.timeout.ms` of a client; longer than a broker takes to restart.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);

/// Sends events as upstream services do. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    config: ClientConfig,
    client: Arc<Mutex<Arc<FutureProducer>>>,
}

/// A record with any content.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// Kafka topic.
    pub topic: &'a str,
    /// The key.
    pub key: Option<&'a str>,
    /// The value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The timestamp in milliseconds since 1970; none: now.
    pub timestamp_ms: Option<i64>,
    /// The partition; none: by the key.
    pub partition: Option<i32>,
}

impl Producer {
    /// Creates a producer with `acks=all`.
    ///
    /// # Errors
    /// When librdkafka rejects the settings.
    pub fn new(kafka: &Kafka) -> anyhow::Result<Self> {
        Self::with(kafka, &[])
    }

    /// Creates a producer with further properties.
    ///
    /// # Errors
    /// As [`Producer::new`].
    pub fn with(kafka: &Kafka, properties: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut config = kafka.client_config();
        config.set("acks", "all").set("linger.ms", "1").set("message.max.bytes", "2000000");
        config.set("message.timeout.ms", CLIENT_LIMIT.as_millis().to_string());
        for (name, value) in properties {
            config.set(*name, *value);
        }
        let client = config.create().context("create a producer")?;
        Ok(Self { config, client: Arc::new(Mutex::new(Arc::new(client))) })
    }

    fn client(&self) -> Arc<FutureProducer> {
        Arc::clone(&self.client.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces a client that has lost its brokers: after a restart of all of them librdkafka 2.12
    /// may not reconnect, <https://github.com/confluentinc/librdkafka/issues/5301>.
    fn replace_client(&self, old: &Arc<FutureProducer>) -> KafkaResult<()> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&client, old) {
            *client = Arc::new(self.config.create()?);
        }
        Ok(())
    }

    /// Sends events in a transaction and commits or aborts it. The producer must have a
    /// `transactional.id`.
    ///
    /// # Errors
    /// When the broker does not acknowledge an event.
    pub async fn transaction(&self, events: &[Event], commit: bool) -> anyhow::Result<()> {
        self.blocking(FutureProducer::begin_transaction).await?;
        self.send_all(events).await?;
        let end = if commit {
            FutureProducer::commit_transaction::<Duration>
        } else {
            FutureProducer::abort_transaction::<Duration>
        };
        self.blocking(move |producer| end(producer, SEND_LIMIT)).await
    }

    /// Initializes transactions, once per producer.
    ///
    /// # Errors
    /// When the broker rejects the producer.
    pub async fn init_transactions(&self) -> anyhow::Result<()> {
        self.blocking(|producer| producer.init_transactions(SEND_LIMIT)).await
    }

    async fn blocking(
        &self,
        step: impl FnOnce(&FutureProducer) -> KafkaResult<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let producer = self.client();
        Ok(tokio::task::spawn_blocking(move || step(&producer)).await??)
    }

    /// Sends an event and waits for the acknowledgement.
    ///
    /// # Errors
    /// When the broker does not acknowledge it.
    pub async fn send(&self, event: &Event) -> anyhow::Result<()> {
        self.send_event(event, None).await
    }

    /// Sends an event to a partition whatever its key.
    ///
    /// # Errors
    /// When the broker does not acknowledge it.
    pub async fn send_to(&self, partition: i32, event: &Event) -> anyhow::Result<()> {
        self.send_event(event, Some(partition)).await
    }

    async fn send_event(&self, event: &Event, partition: Option<i32>) -> anyhow::Result<()> {
        let value = serde_json::to_vec(&event.envelope)?;
        let key = Some(&*event.key);
        let (topic, value) = (&*event.topic, Some(&*value));
        self.send_record(Record { topic, key, value, partition, ..Record::default() }).await
    }

    /// Sends events concurrently and waits for all acknowledgements.
    ///
    /// # Errors
    /// When the broker does not acknowledge an event.
    pub async fn send_all(&self, events: &[Event]) -> anyhow::Result<()> {
        for chunk in events.chunks(5_000) {
            try_join_all(chunk.iter().map(|event| self.send(event))).await?;
        }
        Ok(())
    }

    /// Sends a record and waits for the acknowledgement. A retry may write it twice.
    ///
    /// # Errors
    /// When the broker does not acknowledge it.
    pub async fn send_record(&self, record: Record<'_>) -> anyhow::Result<()> {
        let deadline = Instant::now() + WRITE_LIMIT;
        loop {
            let client = self.client();
            let sent = client.send(record.to_future_record(), SEND_LIMIT).await;
            match sent.map_err(|(error, _)| error) {
                Ok(_) => return Ok(()),
                Err(error) if is_timed_out(&error) && Instant::now() < deadline => {
                    self.replace_client(&client)?;
                }
                Err(error) => return Err(error).context(format!("send to {}", record.topic)),
            }
        }
    }
}

impl<'a> Record<'a> {
    fn to_future_record(self) -> FutureRecord<'a, str, [u8]> {
        let mut headers = OwnedHeaders::new();
        for &(key, value) in self.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        FutureRecord {
            topic: self.topic,
            partition: self.partition,
            payload: self.value,
            key: self.key,
            timestamp: self.timestamp_ms,
            headers: Some(headers),
        }
    }
}

fn is_timed_out(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut)
}

/// Reads a topic from its beginning, without a consumer group, until `is_complete`.
///
/// # Errors
/// When the topic does not exist, or is not complete within `limit`.
pub async fn read_topic(
    kafka: &Kafka,
    topic: &str,
    limit: Duration,
    mut is_complete: impl FnMut(&[OwnedMessage]) -> bool,
) -> anyhow::Result<Vec<OwnedMessage>> {
    let mut config = kafka.client_config();
    config.set("group.id", "topic-reader").set("enable.auto.commit", "false");
    config.set("fetch.wait.max.ms", "10");
    let consumer: StreamConsumer = config.create()?;
    let mut partitions = TopicPartitionList::new();
    let metadata = consumer.fetch_metadata(Some(topic), SEND_LIMIT)?;
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions)
    {
        partitions.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let deadline = Instant::now() + limit;
    let mut records = Vec::new();
    while !is_complete(&records) {
        let record = timeout_at(deadline, consumer.recv()).await;
        let record = record
            .with_context(|| format!("{topic}: only {} records within {limit:?}", records.len()))?;
        records.push(record?.detach());
    }
    Ok(records)
}

/// Returns a record's header as text.
#[must_use]
pub fn header<'a>(record: &'a OwnedMessage, name: &str) -> Option<&'a str> {
    let header = record.headers()?.iter().find(|header| header.key == name)?;
    std::str::from_utf8(header.value?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events;

    #[tokio::test(flavor = "multi_thread")]
    async fn sent_records_can_be_read() {
        let kafka = Kafka::start_embedded().await.unwrap();
        let producer = Producer::new(&kafka).unwrap();
        let event = events::designed().unwrap()[0].fresh("teacher-7").unwrap();
        producer.send(&event).await.unwrap();
        let headers = [("traceparent", "00-1-2-01")];
        let tombstone =
            Record { topic: &event.topic, key: Some("k"), headers: &headers, ..Record::default() };
        producer.send_record(tombstone).await.unwrap();
        let both = |records: &[OwnedMessage]| records.len() == 2;
        let limit = Duration::from_secs(10);
        let mut records = read_topic(&kafka, &event.topic, limit, both).await.unwrap();
        records.sort_by_key(|record| record.payload().is_none());
        assert_eq!(records[0].payload().unwrap(), event.envelope.to_string().as_bytes());
        assert_eq!((records[1].payload(), records[1].key()), (None, Some(&b"k"[..])));
        assert_eq!(header(&records[1], "traceparent"), Some("00-1-2-01"));
    }
}
