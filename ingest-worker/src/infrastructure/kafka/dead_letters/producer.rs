//! Writes dead letters. A dead letter that the topic refuses is reduced until it is accepted, and a
//! producer that no longer works is replaced, so that every dead letter is written eventually.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use rdkafka::{
    ClientConfig,
    error::KafkaError,
    producer::{FutureProducer, Producer as _, future_producer::DeliveryFuture},
    types::RDKafkaErrorCode,
};
use tracing::{debug, error, info, warn};

use super::{
    queue::{DeadLetter, DeadLetterSink, MAX_BYTES},
    record::{DeadLetterRecord, Omitted, Original},
};
use crate::{
    config::Config,
    domain::record::Rejection,
    infrastructure::kafka::{
        client_config::{self, METADATA_TIMEOUT, set_properties},
        client_context::QuietContext,
    },
    notification::publisher::{System, TransientError},
};

/// Time limit for an acknowledgement; then the dead letter is retried with a new producer.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);

/// The interval at which a replaced producer is checked until it is no longer in use.
const RETIRE_POLL: Duration = Duration::from_millis(50);

/// A writer to the dead-letter topic. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    topic: String,
    worker: String,
    client: ClientConfig,
    active: Arc<Mutex<Arc<Active>>>,
    /// Whether the log says that the topic refuses dead letters.
    refuses: Arc<AtomicBool>,
}

/// The producer in use.
struct Active {
    producer: DeadLetterProducer,
    compresses: bool,
}

/// What an error says about a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The topic takes no dead letter of this size or form; a reduced one may be accepted.
    Content,
    /// The topic takes no dead letter with this compression.
    Compression,
    /// The producer no longer works, or no broker is available.
    Producer,
    /// Any other refusal.
    Other,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// A writer that connects in the background.
    ///
    /// # Errors
    /// When a Kafka property is unknown or has an invalid value.
    pub(crate) fn new(config: &Config) -> Result<Self, KafkaError> {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "unknown-host".into());
        let client = producer_config(config);
        let active =
            Active { producer: client.create_with_context(QuietContext)?, compresses: true };
        Ok(Self {
            topic: config.settings.dead_letter_topic.clone(),
            worker: format!("{}@{host}", config.settings.kafka_consumer_client_id),
            client,
            active: Arc::new(Mutex::new(Arc::new(active))),
            refuses: Arc::default(),
        })
    }

    /// Writes one dead letter, reduced as far as the topic requires.
    async fn write_one(
        &self,
        original: Original<'_>,
        rejection: &Rejection,
    ) -> Result<(), TransientError> {
        let mut omitted = if original.lacks_value { Omitted::Value } else { Omitted::Nothing };
        loop {
            let active = Arc::clone(&self.active());
            let dead_letter = DeadLetterRecord::new(&original, rejection, &self.worker, omitted);
            let sent = active.producer.send_result(dead_letter.to_record(&self.topic));
            let written = match sent {
                Ok(delivery) => acknowledged(delivery).await,
                Err((error, _)) => Err(error),
            };
            let Err(error) = written else {
                self.accepted();
                return Ok(());
            };
            match (Refusal::of(&error, &active.producer), omitted.next()) {
                (Refusal::Content, Some(next)) => omitted = next,
                (Refusal::Compression, _) if active.compresses => self.replace(&active, false),
                (refusal, _) => {
                    self.refused(&error);
                    if refusal == Refusal::Producer {
                        self.replace(&active, active.compresses);
                    }
                    let detail = format!("dead-letter topic: {error}");
                    return Err(TransientError { system: System::Kafka, detail });
                }
            }
        }
    }

    /// Writes that the records of a partition from one offset to another are skipped unread.
    ///
    /// # Errors
    /// When the dead-letter topic does not accept it.
    pub(crate) async fn write_skipped(
        &self,
        topic: &str,
        partition: i32,
        offsets: std::ops::Range<i64>,
    ) -> Result<(), KafkaError> {
        let original = Original::unread(topic, partition, offsets.start);
        let dead_letter = DeadLetterRecord::skipped(&original, &self.worker, offsets.end);
        let active = Arc::clone(&self.active());
        let sent = active.producer.send_result(dead_letter.to_record(&self.topic));
        acknowledged(sent.map_err(|(error, _)| error)?).await
    }

    /// Replaces the producer, unless that has happened since `failed` was in use.
    fn replace(&self, failed: &Arc<Active>, compresses: bool) {
        let mut active = self.active();
        if !Arc::ptr_eq(&active, failed) {
            return;
        }
        let mut client = self.client.clone();
        if !compresses {
            client.set("compression.type", "none");
        }
        match client.create_with_context(QuietContext) {
            Ok(producer) => {
                debug!(kafka.topic = self.topic, compresses, "replacing the dead-letter producer");
                let retired = mem::replace(&mut *active, Arc::new(Active { producer, compresses }));
                // The last reference is dropped on this thread, as that blocks.
                thread::spawn(move || {
                    while Arc::strong_count(&retired) > 1 {
                        thread::sleep(RETIRE_POLL);
                    }
                });
            }
            Err(error) => warn!(%error, "cannot replace the dead-letter producer"),
        }
    }

    fn accepted(&self) {
        if self.refuses.swap(false, Ordering::Relaxed) {
            info!(kafka.topic = self.topic, "dead letters are written again");
        }
    }

    /// Logs the first failure since a dead letter was accepted.
    fn refused(&self, error: &KafkaError) {
        if !self.refuses.swap(true, Ordering::Relaxed) {
            error!(kafka.topic = self.topic, %error, "dead letters cannot be written, retrying");
        }
    }

    fn active(&self) -> MutexGuard<'_, Arc<Active>> {
        // Each change is a single assignment, so a poisoned value is still consistent.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the brokers answer and the producer works; blocks.
    pub(crate) fn reaches_brokers(&self) -> bool {
        let active = Arc::clone(&self.active());
        let client = active.producer.client();
        if let Some((code, reason)) = client.fatal_error() {
            warn!(%code, reason, "the dead-letter producer has failed");
            self.replace(&active, active.compresses);
            return false;
        }
        client.fetch_metadata(Some(&self.topic), METADATA_TIMEOUT).is_ok()
    }

    /// Waits until every dead letter is acknowledged or has failed; blocks.
    pub(crate) fn flush(&self, within: Duration) {
        let active = Arc::clone(&self.active());
        if let Err(error) = active.producer.flush(within) {
            warn!(%error, "some dead letters were not acknowledged");
        }
    }
}

impl DeadLetterSink for DeadLetters {
    async fn write(&self, dead_letters: &[DeadLetter]) -> Vec<Result<(), TransientError>> {
        // All are sent before the first acknowledgement is awaited.
        let written = dead_letters.iter().map(|dead_letter| {
            self.write_one(Original::from(&dead_letter.record), &dead_letter.rejection)
        });
        join_all(written).await
    }
}

impl Refusal {
    fn of(error: &KafkaError, producer: &DeadLetterProducer) -> Self {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::MessageBatchTooLarge
                | RDKafkaErrorCode::InvalidRecord,
            ) => Self::Content,
            Some(RDKafkaErrorCode::UnsupportedCompressionType) => Self::Compression,
            Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::Fatal) => Self::Producer,
            _ if producer.client().fatal_error().is_some() => Self::Producer,
            _ => Self::Other,
        }
    }
}

pub(crate) type DeadLetterProducer = FutureProducer<QuietContext>;

/// Returns the settings of an idempotent producer that waits for every in-sync replica.
pub(in crate::infrastructure::kafka) fn producer_config(config: &Config) -> ClientConfig {
    let mut client = client_config::common(config);
    // Compressed, a record of the largest size has room for the headers.
    client.set("compression.type", "zstd").set("message.max.bytes", MAX_BYTES.to_string());
    set_properties(&mut client, config);
    for name in CONSUMER_ONLY {
        client.remove(name);
    }
    client
        .set("enable.idempotence", "true")
        // A topic accepts or refuses a batch as a whole: others would be reduced with a large
        // dead letter.
        .set("batch.num.messages", "1")
        .set("message.timeout.ms", ACKNOWLEDGED_WITHIN.as_millis().to_string());
    client
}

/// Properties of consumers that a deployment may set and a producer would warn of.
const CONSUMER_ONLY: [&str; 8] = [
    "fetch.wait.max.ms",
    "max.poll.interval.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "partition.assignment.strategy",
];

/// Waits for the brokers' acknowledgement.
pub(super) async fn acknowledged(delivery: DeliveryFuture) -> Result<(), KafkaError> {
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(KafkaError::Canceled),
    }
}

#[cfg(test)]
mod tests;
