//! Contexts of the Kafka clients beside the consumer, whose context is
//! [`super::membership::Membership`], and what the errors of clients mean.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use rdkafka::{
    ClientContext, client::DefaultClientContext, config::RDKafkaLogLevel,
    consumer::ConsumerContext, error::KafkaError, types::RDKafkaErrorCode,
};
use tracing::debug;

use super::{offsets::Partition, statistics, topic_log::TopicLog};

/// The context of clients that work beside the consumer. It logs at debug level only: the consumer
/// logs an outage of the brokers, once for the whole worker, and the caller what failed for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuietContext;

impl ClientContext for QuietContext {
    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "Kafka client error");
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(severity = ?level, facility, text = message, "the Kafka client logged a message");
    }
}

impl ConsumerContext for QuietContext {}

/// The context of an operator command: logs errors, keeps the first, which names the cause when no
/// broker answers, and keeps the fetch positions of the last statistics.
#[derive(Debug, Default)]
pub(crate) struct CommandContext {
    first_error: OnceLock<String>,
    fetch_positions: Mutex<Option<BTreeMap<Partition, i64>>>,
    topic_log: Mutex<TopicLog>,
}

impl CommandContext {
    /// Returns the first error.
    pub(super) fn first_error(&self) -> Option<&str> {
        self.first_error.get().map(String::as_str)
    }

    /// Returns the fetch positions of statistics that are new since the last call.
    pub(super) fn take_fetch_positions(&self) -> Option<BTreeMap<Partition, i64>> {
        self.fetch_positions().take()
    }

    /// Returns the ids of topics that the client has logged since the last call; only clients that
    /// debug topics log them.
    pub(super) fn take_topic_ids(&self) -> Vec<(String, String)> {
        self.topic_log().take_ids()
    }

    fn topic_log(&self) -> MutexGuard<'_, TopicLog> {
        self.topic_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch_positions(&self) -> MutexGuard<'_, Option<BTreeMap<Partition, i64>>> {
        // Each change is a single assignment, so a poisoned value is still consistent.
        self.fetch_positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for CommandContext {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            self.first_error.set(reason.to_owned()).ok();
            DefaultClientContext.error(error, reason);
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.topic_log().logged(facility, message);
        if !matches!(level, RDKafkaLogLevel::Debug) {
            DefaultClientContext.log(level, facility, message);
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        *self.fetch_positions() = statistics::fetch_positions(json);
    }
}

impl ConsumerContext for CommandContext {}

/// Returns whether the client could not read a batch of records: it is damaged, too large, or
/// compressed by an unsupported codec.
pub(crate) fn is_batch_error(code: Option<RDKafkaErrorCode>, reason: &str) -> bool {
    matches!(
        code,
        Some(
            RDKafkaErrorCode::BadCompression
                | RDKafkaErrorCode::BadMessage
                | RDKafkaErrorCode::MessageSizeTooLarge
        )
    ) || reason.starts_with("Decompression")
}
