//! The Kafka consumer: a member of the worker's group, and the source of its records. Offsets are
//! stored once a record is finished; the client commits stored offsets every second and before a
//! partition is revoked.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{Arc, MutexGuard},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _, MessageStream, StreamConsumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
    metadata::{Metadata, MetadataTopic},
};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{debug, warn};

use super::{
    client_config::{self, METADATA_TIMEOUT},
    membership::Membership,
    offsets::{Offsets, Partition},
    record::InFlightRecord,
    rewind,
    source::{MAX_BATCH, RecordSource, RewindTo},
    start,
};
use crate::{
    config::Config,
    metrics::Metrics,
    notification::publisher::{System, TransientError},
};

/// Stored as the offset of the last finished record where there is none.
const BEFORE_FIRST: i64 = -1;

/// A member of the consumer group. Dropping it blocks until it has left the group.
pub(crate) struct Consumer {
    pub(crate) client: StreamConsumer<Membership>,
    topics: Vec<String>,
}

impl Consumer {
    /// Subscribes to `topics`. Neither the brokers nor the topics need to be available yet.
    ///
    /// # Errors
    /// When a property is unknown to the client or has an invalid value.
    pub(crate) fn subscribe(
        config: &Config,
        topics: Vec<String>,
        metrics: Metrics,
    ) -> KafkaResult<Self> {
        let client: StreamConsumer<Membership> =
            client_config::consumer(config).create_with_context(Membership::new(metrics))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        client.subscribe(&names)?;
        Ok(Self { client, topics })
    }

    /// Returns the subscribed topics.
    pub(crate) fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Returns the source of this member's records; there should be only one.
    pub(crate) fn source(self: &Arc<Self>) -> KafkaSource<'_> {
        KafkaSource {
            consumer: self,
            stream: self.client.stream(),
            starts_unread: false,
            reading_starts: None,
        }
    }

    /// Returns the state that the client's callbacks update.
    pub(crate) fn membership(&self) -> &Membership {
        self.client.context()
    }

    /// Requests the metadata of one topic; blocks. Returns whether a broker answered.
    pub(crate) fn reaches_brokers(&self) -> bool {
        let topic = self.topics.first().map(String::as_str);
        let reached = self.client.fetch_metadata(topic, METADATA_TIMEOUT).is_ok();
        if reached {
            self.membership().outage.end();
        }
        reached
    }

    /// Returns the subscribed topics that do not exist; blocks.
    ///
    /// # Errors
    /// When no broker answers.
    pub(crate) fn missing_topics(&self) -> KafkaResult<Vec<&str>> {
        let metadata = self.client.fetch_metadata(None, METADATA_TIMEOUT)?;
        Ok(missing(&metadata, &self.topics))
    }
}

/// Returns the topics that do not exist.
pub(super) fn missing<'t>(metadata: &Metadata, topics: &'t [String]) -> Vec<&'t str> {
    let existing: BTreeSet<&str> = metadata.topics().iter().map(MetadataTopic::name).collect();
    let topics = topics.iter().map(String::as_str);
    topics.filter(|topic| !existing.contains(topic)).collect()
}

/// The records of a [`Consumer`].
pub(crate) struct KafkaSource<'c> {
    consumer: &'c Arc<Consumer>,
    stream: MessageStream<'c, Membership>,
    /// Whether partitions were assigned since `reading_starts` began.
    starts_unread: bool,
    /// Reads where assigned partitions begin; one at a time.
    reading_starts: Option<JoinHandle<()>>,
}

impl<'c> KafkaSource<'c> {
    /// Takes what is ready. Each record is admitted before the next poll, in which a rebalance may
    /// revoke or assign its partition.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Vec<InFlightRecord<BorrowedMessage<'c>>>> {
        let mut records = Vec::new();
        while records.len() < MAX_BATCH {
            match self.stream.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(message))) => records.extend(self.admit(message)),
                // The client recovers by itself; `Membership::error` counts and logs.
                Poll::Ready(Some(Err(error))) => debug!(%error, "reading from Kafka failed"),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        self.rewind_recreated();
        self.starts_unread |= self.consumer.membership().assignment_changed();
        self.read_starts();
        let is_ready = !records.is_empty()
            || self.consumer.membership().assignment_changed()
            || self.fatal_error().is_some();
        if is_ready { Poll::Ready(records) } else { Poll::Pending }
    }

    /// Reads where assigned partitions begin, without waiting for it.
    fn read_starts(&mut self) {
        let is_reading = self.reading_starts.as_ref().is_some_and(|reading| !reading.is_finished());
        if is_reading || !std::mem::take(&mut self.starts_unread) {
            return;
        }
        let unknown = self.consumer.membership().offsets().without_start();
        if !unknown.is_empty() {
            let consumer = Arc::clone(self.consumer);
            let read = move || start::set_committed(&consumer.client, &unknown);
            self.reading_starts = Some(spawn_blocking(read));
        }
    }

    /// Reads recreated topics from their beginning.
    fn rewind_recreated(&self) {
        for (topic, partition) in self.consumer.membership().take_recreated() {
            let client = &self.consumer.client;
            // The periodic commit would go on committing the position in the former topic.
            let stored = client.store_offset(&topic, partition, BEFORE_FIRST);
            // Without a time limit it does not wait for the client.
            let sought = client.seek(&topic, partition, Offset::Beginning, Duration::ZERO);
            if let Err(error) = stored.and(sought) {
                warn!(
                    kafka.topic = topic,
                    kafka.partition = partition,
                    %error,
                    "cannot read a recreated topic from its beginning"
                );
            }
        }
    }

    fn admit(&self, message: BorrowedMessage<'c>) -> Option<InFlightRecord<BorrowedMessage<'c>>> {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        let admitted = self.consumer.membership().admit(topic, partition, offset)?;
        Some(InFlightRecord::new(message, &admitted))
    }
}

impl<'c> RecordSource for KafkaSource<'c> {
    type Record = BorrowedMessage<'c>;

    async fn read(&mut self) -> Vec<InFlightRecord<BorrowedMessage<'c>>> {
        let records = poll_fn(|context| self.poll_read(context)).await;
        self.consumer.membership().set_caught_up(records.len() < MAX_BATCH);
        records
    }

    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.consumer.membership().offsets()
    }

    fn take_assignment_changed(&self) -> bool {
        self.consumer.membership().take_assignment_changed()
    }

    fn set_paused(&self, partitions: &BTreeSet<Partition>, paused: bool) {
        let client = &self.consumer.client;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let result = if paused { client.pause(&list) } else { client.resume(&list) };
        if let Err(error) = result {
            warn!(%error, paused, "partitions could not be paused or resumed");
        }
        self.consumer.membership().set_paused(partitions, paused);
    }

    fn store_offsets(&self) {
        let (client, membership) = (&self.consumer.client, self.consumer.membership());
        let (mut backwards, now) = (TopicPartitionList::new(), Instant::now());
        for (topic, partition, next) in self.offsets().take_committable() {
            let mut result = Ok(());
            if membership.backward_commits().is_due(topic, partition, next, now) {
                result = backwards.add_partition_offset(topic, partition, Offset::Offset(next));
            }
            // The client stores the offset of the last finished record and commits the next one.
            if let Err(error) = result.and(client.store_offset(topic, partition, next - 1)) {
                // The partition was revoked; its next owner reads the record again.
                debug!(
                    topic,
                    partition,
                    offset = next,
                    %error,
                    "an offset was not stored for the next commit"
                );
            }
        }
        for ((topic, partition), next) in membership.backward_commits().take_repeated(now) {
            let offset = Offset::Offset(next);
            if let Err(error) = backwards.add_partition_offset(&topic, partition, offset) {
                debug!(topic, partition, offset = next, %error, "an offset cannot be committed");
            }
        }
        if backwards.count() > 0
            && let Err(error) = client.commit(&backwards, CommitMode::Async)
        {
            debug!(%error, "offsets of rewound partitions were not committed, retrying");
        }
    }

    async fn rewind(
        &mut self,
        partitions: &[(Partition, RewindTo)],
    ) -> Vec<Result<Option<i64>, TransientError>> {
        let failed =
            |error: KafkaError| TransientError { system: System::Kafka, detail: error.to_string() };
        let (consumer, partitions) = (Arc::clone(self.consumer), partitions.to_vec());
        let rewind = spawn_blocking(move || rewind::rewind(&consumer.client, &partitions));
        let rewound = rewind.await.expect("a rewind does not panic");
        rewound.into_iter().map(|result| result.map_err(failed)).collect()
    }

    fn fatal_error(&self) -> Option<String> {
        let error = self.consumer.client.client().fatal_error();
        error.map(|(code, reason)| format!("Kafka consumer: {code}: {reason}"))
    }
}

#[cfg(test)]
mod tests;
