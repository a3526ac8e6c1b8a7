//! What the client's callbacks report: assigned and revoked partitions, failed commits, offset
//! resets, errors. Rebalance callbacks run while the consumer is polled, the others in threads of
//! the client.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};
use tracing::{debug, info, warn};

use super::{
    backward_commits::BackwardCommits,
    client_context::is_batch_error,
    commits::Commits,
    offset_reset::OffsetReset,
    offsets::{Admitted, Offsets, Partition},
    outage::Outage,
    statistics,
    topic_log::TopicLog,
};
use crate::metrics::Metrics;

/// The state of a member of the consumer group.
pub(crate) struct Membership {
    offsets: Mutex<Offsets>,
    assignment_changed: AtomicBool,
    pub(super) outage: Outage,
    /// Whether everything that was fetched has been read.
    is_caught_up: AtomicBool,
    paused: Mutex<BTreeSet<Partition>>,
    commits: Commits,
    /// Whether a batch of records could not be read since this was last taken.
    batch_failed: AtomicBool,
    backward_commits: Mutex<BackwardCommits>,
    topic_log: Mutex<TopicLog>,
    /// Where each partition is fetched next, if nothing fetched is unread.
    fetch_positions: Mutex<BTreeMap<Partition, i64>>,
    metrics: Metrics,
}

impl Membership {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            offsets: Mutex::default(),
            assignment_changed: AtomicBool::new(false),
            outage: Outage::default(),
            is_caught_up: AtomicBool::new(true),
            paused: Mutex::default(),
            commits: Commits::default(),
            batch_failed: AtomicBool::new(false),
            backward_commits: Mutex::default(),
            topic_log: Mutex::default(),
            fetch_positions: Mutex::default(),
            metrics,
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Locks the offsets of all assigned partitions.
    pub(crate) fn offsets(&self) -> MutexGuard<'_, Offsets> {
        // Every change of the offsets is complete, so a poisoned lock is still consistent.
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tracks a record that was read; `None` if its partition is not assigned any more.
    pub(super) fn admit(&self, topic: &str, partition: i32, offset: i64) -> Option<Admitted> {
        let admitted = self.offsets().read(topic, partition, offset)?;
        if let Some(from) = admitted.reset_from {
            if admitted.is_truncated {
                self.metrics.offset_resets.inc();
            }
            if offset < from {
                let partition = (topic.to_owned(), partition);
                self.backward_commits().rewound(partition, from, Instant::now());
            }
            OffsetReset { topic, partition, from }.report_resumed(offset, &self.metrics);
        }
        Some(admitted)
    }

    /// Locks the partitions that were rewound.
    pub(super) fn backward_commits(&self) -> MutexGuard<'_, BackwardCommits> {
        self.backward_commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether partitions were assigned or revoked since the last call of
    /// `take_assignment_changed`.
    pub(super) fn assignment_changed(&self) -> bool {
        self.assignment_changed.load(Ordering::Relaxed)
    }

    /// Returns whether partitions were assigned or revoked since the last call.
    pub(super) fn take_assignment_changed(&self) -> bool {
        self.assignment_changed.swap(false, Ordering::Relaxed)
    }

    /// Notes whether everything that was fetched has now been read.
    pub(super) fn set_caught_up(&self, caught_up: bool) {
        self.is_caught_up.store(caught_up, Ordering::Relaxed);
    }

    /// Returns whether unread records of partitions that are not paused can only be at the brokers.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.is_caught_up.load(Ordering::Relaxed)
    }

    /// Notes that partitions were paused or resumed.
    pub(super) fn set_paused(&self, partitions: &BTreeSet<Partition>, paused: bool) {
        let mut all = self.paused();
        if paused {
            // After the pause they are fetched again from the last record that was read.
            self.positions().retain(|partition, _| !partitions.contains(partition));
            all.extend(partitions.iter().cloned());
        } else {
            all.retain(|partition| !partitions.contains(partition));
        }
    }

    /// Locks the partitions that are paused.
    pub(crate) fn paused(&self) -> MutexGuard<'_, BTreeSet<Partition>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns where each partition is fetched next, as of the client's last statistics, unless it
    /// was paused since; empty while fetched records are unread.
    pub(crate) fn fetch_positions(&self) -> BTreeMap<Partition, i64> {
        if self.is_caught_up() { self.positions().clone() } else { BTreeMap::new() }
    }

    fn positions(&self) -> MutexGuard<'_, BTreeMap<Partition, i64>> {
        self.fetch_positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a batch of records could not be read since the last call.
    pub(crate) fn take_batch_failed(&self) -> bool {
        self.batch_failed.swap(false, Ordering::Relaxed)
    }

    /// Returns the partitions of topics that were created again since the last call; they are to be
    /// read, and committed, from their beginning.
    pub(super) fn take_recreated(&self) -> Vec<Partition> {
        let (ids, mut partitions) = (self.topic_log().take_ids(), Vec::new());
        for (topic, id) in ids {
            let mut offsets = self.offsets();
            if offsets.set_topic_id(&topic, id) {
                self.metrics.offset_resets.inc();
                warn!(
                    kafka.topic = topic,
                    "topic was created again, consuming it from its beginning"
                );
                for (partition, from) in offsets.rewind(&topic) {
                    let partition = (topic.clone(), partition);
                    self.backward_commits().restarted(partition.clone(), from, Instant::now());
                    partitions.push(partition);
                }
            }
        }
        partitions
    }

    /// Returns the assigned topics that were created again and have a leader that the client has
    /// ignored since the last call.
    pub(crate) fn take_ignored_leaders(&self) -> Vec<String> {
        let mut ignored = self.topic_log().take_ignored_leaders();
        let offsets = self.offsets();
        ignored.retain(|topic| offsets.is_recreated(topic));
        ignored.into_iter().collect()
    }

    fn note_committed(&self, list: &TopicPartitionList) {
        let mut offsets = self.offsets();
        for element in list.elements().iter().filter(|element| element.error().is_ok()) {
            if let Offset::Offset(offset) = element.offset() {
                offsets.set_committed(element.topic(), element.partition(), offset);
            }
        }
    }

    fn topic_log(&self) -> MutexGuard<'_, TopicLog> {
        self.topic_log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Membership {
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // Missing topics are normal; the worker logs them once at start.
        if code == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            return;
        }
        self.metrics.kafka_errors.inc();
        let is_batch = is_batch_error(code, reason);
        if is_batch {
            // It is repeated ten times a second; `health::unreadable` logs it with its partition.
            self.batch_failed.store(true, Ordering::Relaxed);
        }
        if is_batch || self.outage.is_known(code) {
            debug!(%error, reason, "Kafka client error");
        } else {
            warn!(%error, reason, "Kafka client error");
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(severity = ?level, facility, text = message, "the Kafka client logged a message");
        if let Some(reset) = OffsetReset::in_log(facility, message) {
            self.offsets().reset(reset.topic, reset.partition, reset.from);
            reset.report(message, &self.metrics);
        }
        self.topic_log().logged(facility, message);
    }

    fn stats_raw(&self, json: &[u8]) {
        let positions = statistics::fetch_positions(json).filter(|_| self.is_caught_up());
        for ((topic, partition), position) in positions.iter().flatten() {
            let mut offsets = self.offsets();
            offsets.set_start(topic, *partition, *position);
            if let Some(from) = offsets.deleted_until(topic, *partition, *position) {
                let reset = OffsetReset { topic, partition: *partition, from };
                reset.report_resumed(*position, &self.metrics);
            }
        }
        let mut positions = positions.unwrap_or_default();
        let paused = self.paused();
        positions.retain(|partition, _| !paused.contains(partition));
        *self.positions() = positions;
    }
}

impl ConsumerContext for Membership {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // The batch in flight is still published, but no longer committed: the partitions' next
        // owners read its records again, as duplicates.
        if let Rebalance::Revoke(list) = rebalance {
            let (mut offsets, mut commits) = (self.offsets(), self.backward_commits());
            for partition in partitions(list) {
                commits.revoked(&partition);
                self.paused().remove(&partition);
                offsets.revoke(&partition.0, partition.1);
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.metrics.rebalances.inc();
        let (change, list) = match rebalance {
            Rebalance::Assign(list) => ("assigned", partitions(list)),
            Rebalance::Revoke(list) => ("revoked", partitions(list)),
            Rebalance::Error(error) => {
                return warn!(%error, "a rebalance of the consumer group failed");
            }
        };
        if let Rebalance::Assign(_) = rebalance {
            let mut offsets = self.offsets();
            for (topic, partition) in &list {
                offsets.assign(topic, *partition);
            }
        }
        self.positions().clear();
        self.assignment_changed.store(true, Ordering::Relaxed);
        let assigned = consumer.assignment().map_or(0, |list| list.count());
        self.metrics.assigned_partitions.set(i64::try_from(assigned).unwrap_or(i64::MAX));
        if !list.is_empty() {
            info!(partitions = list.len(), assigned, "partitions {change}");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if result.is_ok() {
            self.backward_commits().committed(offsets);
            self.note_committed(offsets);
        }
        if self.commits.report(&result, offsets, &self.outage) {
            self.metrics.commit_failures.inc();
        }
    }
}

fn partitions(list: &TopicPartitionList) -> BTreeSet<Partition> {
    let elements = list.elements();
    elements.iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}
