//! The Kafka consumer: its configuration, what happens on a rebalance, pausing and storing
//! offsets. Offsets are stored by hand once a record is finished; the client commits what is
//! stored, every second and before a partition is given away.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer},
    error::{KafkaError, KafkaResult},
    metadata::MetadataTopic,
    types::RDKafkaErrorCode,
};
use tracing::{debug, info, warn};

use super::{
    librdkafka_workaround,
    offsets::{Offsets, Partition},
};
use crate::{config::Config, metrics::Metrics};

/// Longest wait for a broker's answer about topics.
pub(crate) const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// A member of the consumer group. Dropping it blocks until it has left the group.
pub struct Consumer {
    pub(crate) client: StreamConsumer<Assignments>,
    topics: Vec<String>,
}

/// What the worker knows of its partitions; told by the client, in the task that polls it.
pub struct Assignments {
    offsets: Mutex<Offsets>,
    changed: AtomicBool,
    /// Whether it was said that no broker can be reached.
    told_outage: AtomicBool,
    /// Whether everything that was fetched has been read.
    keeps_up: AtomicBool,
    metrics: Metrics,
}

impl Consumer {
    /// Subscribes to `topics`. The brokers need not be there yet, nor the topics.
    ///
    /// # Errors
    /// When a property is unknown to the client or has a wrong value.
    pub fn subscribe(config: &Config, topics: Vec<String>, metrics: Metrics) -> KafkaResult<Self> {
        let context = Assignments {
            offsets: Mutex::default(),
            changed: AtomicBool::new(false),
            told_outage: AtomicBool::new(false),
            keeps_up: AtomicBool::new(true),
            metrics,
        };
        let client: StreamConsumer<Assignments> =
            client_config(config).create_with_context(context)?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        client.subscribe(&names)?;
        Ok(Self { client, topics })
    }

    /// The records in hand of all partitions.
    pub(crate) fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.client.context().offsets()
    }

    /// Whether partitions came or went since the last call.
    pub(crate) fn take_assignment_changed(&self) -> bool {
        self.client.context().changed.swap(false, Ordering::Relaxed)
    }

    /// Notes whether everything that was fetched has now been read.
    pub(crate) fn set_keeps_up(&self, keeps_up: bool) {
        self.client.context().keeps_up.store(keeps_up, Ordering::Relaxed);
    }

    /// Whether what has not been read has not been fetched either: nothing waits or is paused.
    pub(crate) fn keeps_up(&self) -> bool {
        let context = self.client.context();
        context.keeps_up.load(Ordering::Relaxed) && context.metrics.paused.get() == 0
    }

    /// Lets the client commit everything that is finished.
    pub(crate) fn store_finished(&self) {
        for (topic, partition, offset) in self.offsets().take_done() {
            if let Err(error) = self.client.store_offset(topic, partition, offset) {
                // The partition is somebody else's now, who reads the record again: a duplicate.
                debug!(topic, partition, offset, %error, "offset not stored");
            }
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.client.context().metrics
    }

    /// Every partition that is assigned.
    pub(crate) fn assigned(&self) -> BTreeSet<Partition> {
        let assigned = self.client.assignment().map(|list| partitions(&list));
        assigned.unwrap_or_else(|error| {
            warn!(%error, "the assignment is not known");
            BTreeSet::new()
        })
    }

    /// Stops or goes on fetching some partitions; polling goes on either way.
    pub(crate) fn set_paused(&self, partitions: &BTreeSet<Partition>, paused: bool) {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let done = if paused { self.client.pause(&list) } else { self.client.resume(&list) };
        if let Err(error) = done {
            warn!(%error, paused, "partitions could not be paused or resumed");
        }
    }

    /// The error after which this member cannot go on, if there was one.
    pub(crate) fn fatal_error(&self) -> Option<String> {
        self.client.client().fatal_error().map(|(code, reason)| format!("{code}: {reason}"))
    }

    /// Asks the brokers for one topic; blocks. Whether they answered.
    #[must_use]
    pub fn reaches_brokers(&self) -> bool {
        let topic = self.topics.first().map(String::as_str);
        let reached = self.client.fetch_metadata(topic, METADATA_TIMEOUT).is_ok();
        if reached && self.client.context().told_outage.swap(false, Ordering::Relaxed) {
            info!("Kafka answers again");
        }
        reached
    }

    /// The subscribed topics that do not exist; blocks.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn missing_topics(&self) -> KafkaResult<Vec<&str>> {
        let metadata = self.client.fetch_metadata(None, METADATA_TIMEOUT)?;
        let existing: BTreeSet<&str> = metadata.topics().iter().map(MetadataTopic::name).collect();
        let topics = self.topics.iter().map(String::as_str);
        Ok(topics.filter(|topic| !existing.contains(topic)).collect())
    }
}

impl Assignments {
    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        // Every change of the offsets is whole, so a panic elsewhere does not spoil them.
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Assignments {
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // Missing topics are normal; the worker itself names them, once.
        if code == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            return;
        }
        self.metrics.kafka_errors.inc();
        if code.is_some_and(is_outage) && self.told_outage.swap(true, Ordering::Relaxed) {
            debug!(%error, reason, "Kafka client");
        } else {
            warn!(%error, reason, "Kafka client");
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(?level, facility, message, "Kafka client");
    }
}

impl ConsumerContext for Assignments {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // What is in hand of these partitions goes on, but no longer counts: their next owner
        // reads it again and finds it published.
        if let Rebalance::Revoke(list) = rebalance {
            let mut offsets = self.offsets();
            for (topic, partition) in partitions(list) {
                offsets.forget(&topic, partition);
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.metrics.rebalances.inc();
        self.changed.store(true, Ordering::Relaxed);
        let (change, list) = match rebalance {
            Rebalance::Assign(list) => ("assigned", partitions(list)),
            Rebalance::Revoke(list) => ("revoked", partitions(list)),
            Rebalance::Error(error) => return warn!(%error, "rebalance failed"),
        };
        let assigned = consumer.assignment().map_or(0, |list| list.count());
        self.metrics.assigned_partitions.set(i64::try_from(assigned).unwrap_or(i64::MAX));
        if !list.is_empty() {
            info!(partitions = list.len(), assigned, "partitions {change}");
        }
    }
}

/// Whether the client says so again and again until a broker answers.
fn is_outage(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::Resolve
    )
}

fn partitions(list: &TopicPartitionList) -> BTreeSet<Partition> {
    let elements = list.elements();
    elements.iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// The client's configuration: what the worker relies on, then what suits it, which a deployment
/// may set otherwise.
fn client_config(config: &Config) -> ClientConfig {
    let settings = &config.settings;
    let mut client = common_client_config(config);
    client
        .set("group.id", &settings.kafka_consumer_group)
        .set("auto.offset.reset", &settings.kafka_auto_offset_reset)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("auto.commit.interval.ms", "1000")
        // How long nobody is told anything after a worker was killed.
        .set("session.timeout.ms", "10000")
        // New topics are found this soon.
        .set("topic.metadata.refresh.interval.ms", "10000")
        // Partitions that are resumed wait for the fetch under way, which lasts so long when there
        // is nothing new in the others.
        .set("fetch.wait.max.ms", "100")
        // The default of a second adds up to a second of latency behind a full queue.
        .set("fetch.queue.backoff.ms", "10")
        // The default of half a second passes before a broker that is back is asked for the
        // partitions that it was not yet the leader of.
        .set("fetch.error.backoff.ms", "100")
        // What is fetched ahead is told in order, so an urgent event waits behind all of it: a few
        // hundredths of a second's worth, from each partition and in all.
        .set("fetch.message.max.bytes", "131072")
        .set("queued.max.messages.kbytes", "512");
    set_properties(&mut client, config);
    // Not to be overridden: nothing may be committed before it is finished.
    client.set("enable.auto.commit", "true").set("enable.auto.offset.store", "false");
    client
}

/// What the consumer, the producer and the tools have in common.
pub(crate) fn common_client_config(config: &Config) -> ClientConfig {
    let settings = &config.settings;
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &settings.kafka_bootstrap_servers)
        .set("client.id", &settings.kafka_consumer_client_id)
        // With a random half more: how late it is noticed that a broker is back.
        .set("reconnect.backoff.max.ms", "100");
    librdkafka_workaround::disable_rebootstrap_trigger(&mut client);
    client
}

/// Applies the properties that the deployment sets.
pub(crate) fn set_properties(client: &mut ClientConfig, config: &Config) {
    for (name, value) in &config.kafka_properties {
        client.set(name, value);
    }
}
