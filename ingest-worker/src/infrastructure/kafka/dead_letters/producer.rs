//! The dead-letter topic: records that cannot be used, as they were, with the reason in headers.

use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _, future_producer::DeliveryFuture},
    types::RDKafkaErrorCode,
};
use tracing::debug;

use super::queue::{DeadLetter, DeadLetterSink};
use crate::{
    config::Config,
    domain::record::Rejection,
    infrastructure::kafka::{
        client_config::{self, METADATA_TIMEOUT, set_properties},
        record::OwnedRecord,
    },
    notification::publisher::{System, TransientError},
};

/// Headers that say why and whence a record came to the dead-letter topic.
pub(crate) mod header {
    /// The kind of fault.
    pub(crate) const REASON: &str = "dlq.reason";
    /// Where the fault was found.
    pub(crate) const DETAIL: &str = "dlq.detail";
    /// The record's own topic.
    pub(crate) const TOPIC: &str = "dlq.topic";
    /// Its partition there.
    pub(crate) const PARTITION: &str = "dlq.partition";
    /// Its offset there.
    pub(crate) const OFFSET: &str = "dlq.offset";
    /// When it was written there, RFC 3339.
    pub(crate) const TIMESTAMP: &str = "dlq.timestamp";
    /// Which worker gave it up.
    pub(crate) const WORKER: &str = "dlq.worker";
    /// Present when the record was too large to be written again: only its own topic has it.
    pub(crate) const VALUE_OMITTED: &str = "dlq.value_omitted";
}

/// Longest time for a record to be acknowledged before it is tried again.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);

/// Writes to the dead-letter topic.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    producer: LetterProducer,
    topic: String,
    worker: String,
}

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetters").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// A writer; the brokers need not be there yet.
    ///
    /// # Errors
    /// When a property is unknown to the client or has a wrong value.
    pub(crate) fn new(config: &Config) -> Result<Self, KafkaError> {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "unknown-host".into());
        Ok(Self {
            producer: producer(config)?,
            topic: config.settings.dead_letter_topic.clone(),
            worker: format!("{}@{host}", config.settings.kafka_consumer_client_id),
        })
    }

    async fn settled(
        &self,
        letter: &DeadLetter,
        sent: Result<DeliveryFuture, TransientError>,
    ) -> Result<(), TransientError> {
        match acknowledged(sent?).await {
            Err(error) if is_too_large(&error) => {
                let delivery = self.send(letter, false)?;
                acknowledged(delivery).await.map_err(|error| transient(&error))
            }
            result => result.map_err(|error| transient(&error)),
        }
    }

    fn send(
        &self,
        letter: &DeadLetter,
        with_value: bool,
    ) -> Result<DeliveryFuture, TransientError> {
        let DeadLetter { record, rejection, .. } = letter;
        let mut message = FutureRecord::<[u8], [u8]>::to(&self.topic)
            .headers(self.headers(record, rejection, with_value));
        message.key = record.key();
        message.payload = record.value().filter(|_| with_value);
        match self.producer.send_result(message) {
            Ok(delivery) => Ok(delivery),
            Err((error, _)) if with_value && is_too_large(&error) => self.send(letter, false),
            Err((error, _)) => Err(transient(&error)),
        }
    }

    fn headers(&self, record: &OwnedRecord, why: &Rejection, with_value: bool) -> OwnedHeaders {
        let written_at = record.written_at().map(|at| at.to_string()).unwrap_or_default();
        let partition = record.partition().to_string();
        let offset = record.offset().to_string();
        let mut headers = OwnedHeaders::new();
        for (key, value) in record.headers() {
            headers = headers.insert(Header { key, value });
        }
        for (key, value) in [
            (header::REASON, why.reason.label()),
            (header::DETAIL, &why.detail),
            (header::TOPIC, record.topic()),
            (header::PARTITION, &partition),
            (header::OFFSET, &offset),
            (header::TIMESTAMP, &written_at),
            (header::WORKER, &self.worker),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        if with_value {
            return headers;
        }
        headers.insert(Header { key: header::VALUE_OMITTED, value: Some("true") })
    }

    /// Asks the brokers for the topic; blocks. Whether they answered, and the client can go on.
    pub(crate) fn reaches_brokers(&self) -> bool {
        let client = self.producer.client();
        if let Some((code, reason)) = client.fatal_error() {
            tracing::warn!(%code, reason, "the producer of dead letters cannot go on");
            return false;
        }
        client.fetch_metadata(Some(&self.topic), METADATA_TIMEOUT).is_ok()
    }

    /// Waits until everything written is acknowledged or given up; blocks.
    pub(crate) fn flush(&self, within: Duration) {
        if let Err(error) = self.producer.flush(within) {
            tracing::warn!(%error, "some dead letters were not acknowledged");
        }
    }
}

impl DeadLetterSink for DeadLetters {
    async fn write(&self, letters: &[DeadLetter]) -> Vec<Result<(), TransientError>> {
        // All are sent before the first is waited for.
        let sent: Vec<_> = letters.iter().map(|letter| self.send(letter, true)).collect();
        let settled = letters.iter().zip(sent).map(|(letter, sent)| self.settled(letter, sent));
        join_all(settled).await
    }
}

pub(crate) type LetterProducer = FutureProducer<Quiet>;

/// The consumer tells of brokers that are away, and a letter that cannot be written is told of
/// by whoever tries it again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "Kafka producer");
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(?level, facility, message, "Kafka producer");
    }
}

/// A producer that writes each record once and waits for every replica.
pub(crate) fn producer(config: &Config) -> Result<LetterProducer, KafkaError> {
    let mut client = client_config::common(config);
    // Compressed, a record of the largest size has room for the headers.
    client.set("compression.type", "zstd").set("message.max.bytes", "4194304");
    set_producer_properties(&mut client, config);
    client
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", ACKNOWLEDGED_WITHIN.as_millis().to_string());
    client.create_with_context(Quiet)
}

/// Properties that are the consumer's alone would be refused, or warned of, by a producer.
fn set_producer_properties(client: &mut rdkafka::ClientConfig, config: &Config) {
    set_properties(client, config);
    for name in CONSUMER_ONLY {
        client.remove(name);
    }
}

/// What a deployment may set for the consumer and a producer would warn of.
const CONSUMER_ONLY: [&str; 6] = [
    "fetch.wait.max.ms",
    "max.poll.interval.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.instance.id",
    "partition.assignment.strategy",
];

pub(crate) async fn acknowledged(delivery: DeliveryFuture) -> Result<(), KafkaError> {
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(KafkaError::Canceled),
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

fn transient(error: &KafkaError) -> TransientError {
    TransientError { system: System::Kafka, detail: format!("dead-letter topic: {error}") }
}
