//! The broker: an external one (`KAFKA_BOOTSTRAP_SERVERS`), else Apache Kafka, else the mock broker
//! of librdkafka, which has its data in the memory of this process: durability is not tested on it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail, ensure};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::RDKafkaErrorCode,
};

use crate::{events, eventually};
use apache::Apache;
pub use apache::JvmProfile;
use embedded::Embedded;
pub use secured::{PASSWORD, Secured};

mod apache;
mod embedded;
mod faults;
mod gc_log;
mod log_segment;
mod secured;

/// Partitions per topic: several workers can share them.
pub const PARTITIONS: i32 = 3;

/// Longest wait for one response of the broker.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A running broker with the topics of all events.
#[derive(Debug)]
pub struct Kafka {
    bootstrap_servers: String,
    broker: Broker,
}

#[derive(Debug)]
enum Broker {
    External,
    Apache(Apache),
    Embedded(Embedded),
}

impl Kafka {
    /// Starts the best available broker and creates the topics of all events.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn start(jvm: JvmProfile) -> anyhow::Result<Arc<Self>> {
        if let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
            eprintln!("Kafka: {servers}, from KAFKA_BOOTSTRAP_SERVERS");
            return Self::with_topics(servers, Broker::External).await;
        }
        match Apache::start(jvm).await {
            Ok(apache) => Self::with_topics(apache.address(), Broker::Apache(apache)).await,
            Err(problem) => {
                eprintln!(
                    "Kafka: embedded broker, as Apache Kafka did not start ({problem:#}); \
                     scenarios on durability and rebalancing are skipped"
                );
                Self::start_embedded().await
            }
        }
    }

    /// Starts Apache Kafka for a scenario that injects broker faults.
    ///
    /// # Errors
    /// When it does not start, or is not available on this machine.
    pub async fn start_apache(jvm: JvmProfile) -> anyhow::Result<Arc<Self>> {
        let apache = Apache::start(jvm).await?;
        Self::with_topics(apache.address(), Broker::Apache(apache)).await
    }

    /// Starts the embedded broker.
    ///
    /// # Errors
    /// When librdkafka cannot start it.
    pub async fn start_embedded() -> anyhow::Result<Arc<Self>> {
        let embedded = Embedded::start()?;
        Self::with_topics(embedded.address().to_owned(), Broker::Embedded(embedded)).await
    }

    async fn with_topics(bootstrap_servers: String, broker: Broker) -> anyhow::Result<Arc<Self>> {
        let kafka = Self { bootstrap_servers, broker };
        kafka.create_topics(&events::topics()?).await?;
        Ok(Arc::new(kafka))
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Returns whether this is the embedded broker, on which durability cannot be tested.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        matches!(self.broker, Broker::Embedded(_))
    }

    /// Returns the TLS and SASL listener.
    ///
    /// # Errors
    /// When this is not Apache Kafka started by the tests.
    pub fn secured(&self) -> anyhow::Result<Secured> {
        Ok(self.apache()?.secured())
    }

    /// Returns the committed offsets of a group by topic and partition.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn committed(&self, group: &str) -> anyhow::Result<BTreeMap<(String, i32), i64>> {
        let mut config = self.client_config();
        config.set("group.id", group);
        let topics = events::topics()?;
        let query = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create()?;
            let mut partitions = TopicPartitionList::new();
            for topic in &topics {
                partitions.add_partition_range(topic, 0, PARTITIONS - 1);
            }
            let committed = consumer.committed_offsets(partitions, ANSWER_LIMIT)?;
            let committed = committed.elements().into_iter().filter_map(|element| {
                let partition = (element.topic().to_owned(), element.partition());
                Some((partition, element.offset().to_raw()?))
            });
            anyhow::Ok(committed.collect())
        });
        query.await?
    }

    /// Commits the end offsets of all event topics for a new group, so that its workers skip the
    /// events of other scenarios.
    ///
    /// # Errors
    /// When the broker does not answer in time.
    pub async fn start_group_at_end(&self, group: &str) -> anyhow::Result<()> {
        let mut config = self.client_config();
        config.set("group.id", group);
        let topics = events::topics()?;
        // Partitions of new topics may not have a leader yet.
        eventually("the end offsets are committed", ANSWER_LIMIT * 3, async || {
            let (config, topics) = (config.clone(), topics.clone());
            tokio::task::spawn_blocking(move || commit_ends(&config, &topics)).await?
        })
        .await
    }

    /// Deletes all records of a topic; the next one gets the offset after the last one.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn delete_records(&self, topic: &str) -> anyhow::Result<()> {
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(topic, partition, Offset::End)?;
        }
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        self.admin()?.delete_records(&all, &options).await?;
        Ok(())
    }

    /// Commits an offset of a group without members in every partition of a topic.
    ///
    /// # Errors
    /// When the broker does not answer in time.
    pub async fn commit(&self, group: &str, topic: &str, offset: i64) -> anyhow::Result<()> {
        let mut config = self.client_config();
        config.set("group.id", group);
        let mut offsets = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            offsets.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        let commit = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create()?;
            consumer.commit(&offsets, CommitMode::Sync)
        });
        Ok(commit.await??)
    }

    /// Returns settings that a worker needs for this broker.
    #[must_use]
    pub fn worker_settings(&self) -> Vec<(&'static str, &'static str)> {
        match self.broker {
            // This broker waits the full time on an empty fetch.
            Broker::Embedded(_) => vec![("KAFKA_PROPERTY_FETCH_WAIT_MAX_MS", "2")],
            Broker::External | Broker::Apache(_) => Vec::new(),
        }
    }

    /// Creates topics; existing ones are unchanged.
    ///
    /// # Errors
    /// When the broker rejects a topic.
    pub async fn create_topics(&self, topics: &[String]) -> anyhow::Result<()> {
        if let Broker::Embedded(embedded) = &self.broker {
            return topics.iter().try_for_each(|topic| embedded.create_topic(topic, PARTITIONS));
        }
        let new: Vec<_> = topics.iter().map(|topic| new_topic(topic)).collect();
        self.create(&new).await
    }

    /// Creates a topic with settings of its own.
    ///
    /// # Errors
    /// When the broker rejects it.
    pub async fn create_topic(&self, topic: &str, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut new = new_topic(topic);
        for (name, value) in settings {
            new = new.set(name, value);
        }
        self.create(&[new]).await
    }

    /// Deletes a topic that has records, creates it again at once, and waits until the broker
    /// writes to the new one.
    ///
    /// # Errors
    /// When the broker refuses, or the topic is not empty in time.
    pub async fn create_again(&self, topic: &str) -> anyhow::Result<()> {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        for deleted in self.admin()?.delete_topics(&[topic], &options).await? {
            deleted.map_err(|(topic, error)| anyhow!("delete topic {topic}: {error}"))?;
        }
        self.create_topic(topic, &[]).await?;
        eventually("the new topic is empty", ANSWER_LIMIT, async || {
            let (config, topic) = (self.client_config(), topic.to_owned());
            tokio::task::spawn_blocking(move || expect_empty(&config, &topic)).await?
        })
        .await
    }

    async fn create(&self, new: &[NewTopic<'_>]) -> anyhow::Result<()> {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        for result in self.admin()?.create_topics(new, &options).await? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, error)) => bail!("create topic {topic}: {error}"),
            }
        }
        Ok(())
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        self.client_config().create().context("create the admin client")
    }

    /// Returns the client configuration for this broker.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap_servers);
        // A longer back-off would add to measured recovery times.
        config.set("reconnect.backoff.max.ms", "100");
        config
    }
}

fn new_topic(topic: &str) -> NewTopic<'_> {
    NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1))
}

fn expect_empty(config: &ClientConfig, topic: &str) -> anyhow::Result<()> {
    let client: BaseConsumer = config.create()?;
    for partition in 0..PARTITIONS {
        let (_, end) = client.fetch_watermarks(topic, partition, ANSWER_LIMIT)?;
        ensure!(end == 0, "{topic}[{partition}] ends at {end}");
    }
    Ok(())
}

fn commit_ends(config: &ClientConfig, topics: &[String]) -> anyhow::Result<()> {
    let consumer: BaseConsumer = config.create()?;
    let mut ends = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..PARTITIONS {
            let (_, end) = consumer.fetch_watermarks(topic, partition, ANSWER_LIMIT)?;
            ends.add_partition_offset(topic, partition, Offset::Offset(end))?;
        }
    }
    Ok(consumer.commit(&ends, CommitMode::Sync)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_embedded_broker_creates_topics() {
        let kafka = Kafka::start_embedded().await.unwrap();
        assert!(kafka.is_embedded());
        kafka.create_topics(&["one-more".into()]).await.unwrap();
    }
}
