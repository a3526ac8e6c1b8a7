//! Writes dead letters. A dead letter that the topic refuses is reduced until it is accepted, and a
//! producer that no longer works is replaced, so that every dead letter is written eventually.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use rdkafka::{
    error::KafkaError,
    producer::{FutureProducer, Producer as _},
    types::RDKafkaErrorCode,
};
use tracing::{error, info, warn};

use super::{
    compaction::Compaction,
    queue::{DeadLetter, DeadLetterSink},
    record::{DeadLetterRecord, Omitted, Original},
    replaceable::ReplaceableProducer,
};
use crate::{
    config::Config,
    domain::record::Rejection,
    infrastructure::kafka::{
        client_config::{self, METADATA_TIMEOUT},
        client_context::QuietContext,
    },
    notification::publisher::{System, TransientError},
};

/// A writer to the dead-letter topic. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    topic: String,
    worker: String,
    producer: ReplaceableProducer,
    compaction: Arc<Compaction>,
    /// Whether the log says that the topic refuses dead letters.
    refuses: Arc<AtomicBool>,
}

/// What an error says about a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The topic takes no dead letter of this size or form; a reduced one may be accepted.
    Content,
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
        Ok(Self {
            topic: config.settings.dead_letter_topic.clone(),
            worker: format!("{}@{host}", config.settings.kafka_consumer_client_id),
            producer: ReplaceableProducer::new(client_config::producer(config))?,
            compaction: Arc::new(Compaction::new(config)),
            refuses: Arc::default(),
        })
    }

    /// Writes one dead letter, reduced as far as the topic requires.
    async fn write_one(
        &self,
        original: Original<'_>,
        rejection: &Rejection,
        is_compacted: bool,
    ) -> Result<(), TransientError> {
        let mut omitted = if original.lacks_value { Omitted::Value } else { Omitted::Nothing };
        loop {
            let mut dead_letter =
                DeadLetterRecord::new(&original, rejection, &self.worker, omitted);
            if is_compacted {
                dead_letter = dead_letter.for_compacted_topic(&original);
            }
            let record = || dead_letter.to_record(&self.topic);
            let Err((error, active)) = self.producer.send(record).await else {
                self.accepted();
                return Ok(());
            };
            match (Refusal::of(&error, &active.producer), omitted.next()) {
                (Refusal::Content, Some(next)) => omitted = next,
                (refusal, _) => {
                    self.refused(&error);
                    if refusal == Refusal::Producer {
                        self.producer.replace(&active);
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
        let sent = self.producer.send(|| dead_letter.to_record(&self.topic)).await;
        sent.map_err(|(error, _)| error)
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

    /// Returns whether the brokers answer and the producer works; blocks.
    pub(crate) fn reaches_brokers(&self) -> bool {
        let active = self.producer.active();
        let client = active.producer.client();
        if let Some((code, reason)) = client.fatal_error() {
            warn!(%code, reason, "the dead-letter producer has failed");
            self.producer.replace(&active);
            return false;
        }
        client.fetch_metadata(Some(&self.topic), METADATA_TIMEOUT).is_ok()
    }

    /// Waits until every dead letter is acknowledged or has failed; blocks.
    pub(crate) fn flush(&self, within: Duration) {
        let active = self.producer.active();
        if let Err(error) = active.producer.flush(within) {
            warn!(%error, "some dead letters were not acknowledged");
        }
    }
}

impl DeadLetterSink for DeadLetters {
    async fn write(&self, dead_letters: &[DeadLetter]) -> Vec<Result<(), TransientError>> {
        let is_compacted = self.compaction.is_compacted().await;
        // All are sent before the first acknowledgement is awaited.
        let written = dead_letters.iter().map(|dead_letter| {
            self.write_one(
                Original::from(&dead_letter.record),
                &dead_letter.rejection,
                is_compacted,
            )
        });
        join_all(written).await
    }
}

impl Refusal {
    fn of(error: &KafkaError, producer: &FutureProducer<QuietContext>) -> Self {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::MessageBatchTooLarge
                | RDKafkaErrorCode::InvalidRecord,
            ) => Self::Content,
            Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::Fatal) => Self::Producer,
            _ if producer.client().fatal_error().is_some() => Self::Producer,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests;
