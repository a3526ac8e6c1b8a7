//! The command that moves the group's committed offset past records that cannot be read. A dead
//! letter says which records were skipped.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use rdkafka::{
    Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::KafkaResult,
    types::RDKafkaErrorCode,
};
use shared::{audit, config::duration};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::info;
use uuid::Uuid;

use super::{
    client_config,
    client_context::CommandContext,
    consume_loop::watermark_value::Position,
    dead_letters::producer::DeadLetters,
    health::unreadable::{damage_at, first_readable},
};
use crate::{
    config::Config,
    notification::publisher::{Publisher, StoredWatermark, TransientError, Watermark},
};

/// Time limit for the brokers to answer a request.
const BROKER_TIMEOUT: Duration = Duration::from_secs(8);

/// Longest wait for the client to learn the id of a topic; brokers before version 2.8 have none.
const TOPIC_ID_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a poll waits.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How often it is tried again whether the group has become empty.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A command for the committed offsets of the workers' group.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum OffsetsCommand {
    /// Skip the unread records of a partition up to an offset, and write a dead letter that names
    /// them; Kafka accepts this only while no worker runs
    Skip(Skip),
}

/// Which records to skip.
#[derive(Clone, Debug, clap::Args)]
pub struct Skip {
    /// Topic of the records, one that the workers consume
    #[arg(long)]
    topic: String,
    /// Partition of the records
    #[arg(long)]
    partition: i32,
    /// Offset of the first record that is not skipped
    #[arg(long)]
    to: i64,
    /// Skip records that can be read as well: they are neither published nor dead-lettered
    #[arg(long)]
    readable: bool,
    /// How long to wait for the last worker to leave the group; a static member that has stopped
    /// stays in it until its session times out
    #[arg(long, default_value = "0s", value_parser = duration)]
    wait: Duration,
}

impl OffsetsCommand {
    /// Runs the command until `interrupt`. Blocks.
    ///
    /// # Errors
    /// When the brokers do not answer, the offset is not above the committed one, or the group has
    /// members.
    pub(crate) fn run(
        &self,
        config: &Config,
        publisher: &impl Publisher,
        interrupt: &CancellationToken,
    ) -> anyhow::Result<()> {
        match self {
            Self::Skip(skip) => skip.run(config, publisher, interrupt),
        }
    }
}

impl Skip {
    fn run(
        &self,
        config: &Config,
        publisher: &impl Publisher,
        interrupt: &CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { topic, partition, to, .. } = self;
        let group = &config.settings.kafka_consumer_group;
        let is_consumed = config.consumes(topic);
        ensure!(is_consumed, "--topic must be a topic that the workers consume, not {topic:?}");
        let mut properties = client_config::without_membership(config);
        // The client states the ids of topics only in its log.
        properties.set("debug", "topic").set_log_level(RDKafkaLogLevel::Debug);
        let client = properties.create_with_context(CommandContext::default());
        let client: BaseConsumer<CommandContext> = client.context("Kafka consumer settings")?;
        let (first, end) =
            client.fetch_watermarks(topic, *partition, BROKER_TIMEOUT).with_context(|| {
                let brokers = &config.settings.kafka_bootstrap_servers;
                format!("no offsets of {topic}[{partition}] (brokers: {brokers})")
            })?;
        let check = |from: i64| {
            ensure!(
                from < *to && *to <= end,
                "--to must be above {from}, the offset that {group} reads next, and at most {end}, \
                 the end of {topic}[{partition}]"
            );
            self.check_unreadable(config, from)
        };
        let before = self.next_offset(&client, first)?;
        check(before)?;
        let from = self.wait_until_empty(&client, first, group, interrupt)?;
        if from != before {
            // Workers have finished records before they left the group.
            check(from)?;
        }
        let topic_id = self.topic_id(&client)?;
        Handle::current()
            .block_on(self.advance_watermark(publisher, group, topic_id.as_deref()))
            .context("nothing is skipped: Redis does not take the partition's watermark")?;
        let dead_letters = DeadLetters::new(config).context("Kafka producer settings")?;
        Handle::current()
            .block_on(dead_letters.write_skipped(topic, *partition, from..*to))
            .context("nothing is skipped: the dead letter could not be written")?;
        self.commit(&client, *to).context("the dead letter is written, but nothing is skipped")?;
        self.log(from);
        println!("{group} continues at {topic}[{partition}]@{to}, {} offsets skipped", to - from);
        Ok(())
    }

    fn log(&self, from: i64) {
        info!(
            target: audit::TARGET,
            by = audit::caller(),
            kafka.topic = self.topic,
            kafka.partition = self.partition,
            from,
            to = self.to,
            "records skipped by operator"
        );
    }

    /// Fails if the first of the records could be processed.
    fn check_unreadable(&self, config: &Config, from: i64) -> anyhow::Result<()> {
        let partition = (self.topic.clone(), self.partition);
        if self.readable {
            return Ok(());
        }
        let is_skipped = |offset: &i64| *offset < self.to;
        if let Some(offset) = first_readable(config, &partition, from)?.filter(is_skipped) {
            bail!(
                "the record at offset {offset} can be read and is not finished: start the workers \
                 until the committed offset is that of the unreadable batch, or skip it too with \
                 --readable"
            );
        }
        let next_readable = damage_at(config, &partition, from).and_then(|d| d.next_readable);
        if let Some(offset) = next_readable.filter(is_skipped) {
            bail!(
                "the records from offset {offset} on can be read: skip to {offset}, or skip them \
                 too with --readable"
            );
        }
        Ok(())
    }

    /// Returns the id of the topic; none if the brokers give topics no ids.
    fn topic_id(&self, client: &BaseConsumer<CommandContext>) -> KafkaResult<Option<String>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, self.partition, Offset::End)?;
        client.assign(&list)?;
        let deadline = Instant::now() + TOPIC_ID_TIMEOUT;
        let mut found = None;
        while found.is_none() && Instant::now() < deadline {
            // Nothing is read at the end; an error is repeated where it matters.
            drop(client.poll(POLL_TIMEOUT));
            let ids = client.context().take_topic_ids();
            found = ids.into_iter().find(|(topic, _)| *topic == self.topic).map(|(_, id)| id);
        }
        client.unassign()?;
        Ok(found)
    }

    /// Makes Redis hold that everything before the skipped records' end is published. From a lower
    /// watermark the workers would read the skipped records again, as what Redis has lost.
    async fn advance_watermark(
        &self,
        publisher: &impl Publisher,
        group: &str,
        topic_id: Option<&str>,
    ) -> anyhow::Result<()> {
        // Workers also read the name without the topic's id, and know the id in the value: it is no
        // position of a topic that is created again.
        let source = Watermark::source_of(group, &self.topic, self.partition, None);
        let failed = |error: TransientError| anyhow!("{error}");
        let stored = publisher.watermarks(&[Arc::clone(&source)]).await.map_err(failed)?;
        let stored = stored.into_iter().next().unwrap_or_default();
        let position = Position { next: self.to, topic_id, ..Position::default() }.to_string();
        let token = Uuid::new_v4().simple().to_string();
        let watermark = Watermark { source, stored, token: token.clone(), position };
        let written = publisher.publish(&[], &[watermark]).await.map_err(failed)?;
        let mut values = written.watermarks.iter().flat_map(StoredWatermark::values).flatten();
        ensure!(values.all(|value| value.starts_with(&token)), "it was not replaced everywhere");
        Ok(())
    }

    /// Returns the offset that the group reads next; `first` is the first of the partition.
    fn next_offset(
        &self,
        client: &BaseConsumer<CommandContext>,
        first: i64,
    ) -> anyhow::Result<i64> {
        let committed = self.committed(client).context("the brokers give no committed offset")?;
        Ok(committed.unwrap_or(first).max(first))
    }

    fn committed(&self, client: &BaseConsumer<CommandContext>) -> KafkaResult<Option<i64>> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, self.partition);
        let committed = client.committed_offsets(list, BROKER_TIMEOUT)?;
        let element = committed.find_partition(&self.topic, self.partition);
        Ok(element.and_then(|element| element.offset().to_raw()).filter(|offset| *offset >= 0))
    }

    fn commit(&self, client: &BaseConsumer<CommandContext>, offset: i64) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, self.partition, Offset::Offset(offset))?;
        client.commit(&list, CommitMode::Sync)
    }

    /// Waits until the group has no members; a commit that changes nothing shows it. Returns the
    /// offset that the group then reads next.
    fn wait_until_empty(
        &self,
        client: &BaseConsumer<CommandContext>,
        first: i64,
        group: &str,
        interrupt: &CancellationToken,
    ) -> anyhow::Result<i64> {
        let deadline = Instant::now() + self.wait;
        loop {
            let from = self.next_offset(client, first)?;
            let Err(error) = self.commit(client, from) else { return Ok(from) };
            // Kafka's answers to a commit from outside a group that has members.
            let has_members = matches!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::RebalanceInProgress)
            );
            ensure!(has_members, "the brokers reject a commit for {group}: {error}");
            if Instant::now() >= deadline {
                bail!("{group} has active members: stop all workers, then skip (see --wait)");
            }
            ensure!(!interrupt.is_cancelled(), "interrupted");
            std::thread::sleep(RETRY_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        ClientConfig,
        mocking::MockCluster,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };

    use super::*;

    #[test]
    fn what_workers_finish_before_they_leave_the_group_is_not_skipped() {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let mut properties = ClientConfig::new();
        properties.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let client: BaseConsumer<CommandContext> =
            properties.create_with_context(CommandContext::default()).expect("a client");
        let wait = Duration::ZERO;
        let skip = Skip { topic: "t".into(), partition: 0, to: 9, readable: true, wait };
        let next = || skip.wait_until_empty(&client, 0, "g", &CancellationToken::new());
        let has_members = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
        cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[has_members]);
        let error = next().expect_err("the group has members").to_string();
        assert!(error.contains("has active members"), "{error}");
        skip.commit(&client, 3).expect("the last worker commits and leaves");
        assert_eq!(next().expect("the group is empty"), 3);
    }
}
