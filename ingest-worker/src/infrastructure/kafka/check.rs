//! What the command `check` finds out about Kafka: brokers, topics, and the permissions to read
//! them, to commit, and to write dead letters. Joins no group, commits and writes nothing.

use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, KafkaResult},
    metadata::Metadata,
    types::RDKafkaErrorCode,
};
use shared::findings::{Findings, PART_LIMIT};
use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};
use uuid::Uuid;

use super::{
    client_config::{self, METADATA_TIMEOUT},
    client_context::CommandContext,
    consumer::missing,
    dead_letters::check::{self, ACLS, SUBJECT},
    health::retention,
};
use crate::config::Config;

/// What to do if the brokers do not answer.
const UNREACHABLE: &str = "check KAFKA_BOOTSTRAP_SERVERS, KAFKA_PROPERTY_* and the network";

/// Time limit for the group's coordinator to be found and to answer.
const COORDINATOR_LIMIT: Duration = Duration::from_secs(3);

/// Checks Kafka for a worker that consumes `topics`.
pub(crate) async fn check(config: Config, topics: Vec<String>) -> Findings {
    let check = move || {
        let (findings, started) = (Findings::default(), Instant::now());
        let mut check = Check { config, findings, started, is_group_denied: false };
        if let Err(error) = check.run(&topics) {
            check.findings.failed(SUBJECT, error.to_string(), UNREACHABLE);
        }
        check.findings
    };
    // A request to a broker that accepts it and does not answer takes longer.
    if let Ok(findings) = timeout(PART_LIMIT, spawn_blocking(check)).await {
        return findings.expect("the check does not panic");
    }
    let mut findings = Findings::default();
    findings.failed(SUBJECT, format!("no answer within {PART_LIMIT:?}"), UNREACHABLE);
    findings
}

struct Check {
    config: Config,
    findings: Findings,
    started: Instant,
    /// Whether the brokers have refused to name the group's coordinator.
    is_group_denied: bool,
}

impl Check {
    /// Adds what it finds; blocks.
    ///
    /// # Errors
    /// If the brokers do not answer.
    fn run(&mut self, topics: &[String]) -> KafkaResult<()> {
        let mut properties = client_config::without_membership(&self.config);
        // Each partition that is read to its end says so.
        properties.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "20");
        let client: BaseConsumer<_> = properties.create_with_context(CommandContext::default())?;
        let metadata = match client.fetch_metadata(None, METADATA_TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => {
                let error = error.to_string();
                let text = client.context().first_error().unwrap_or(&error);
                self.findings.failed(SUBJECT, format!("no broker answers: {text}"), UNREACHABLE);
                return Ok(());
            }
        };
        self.findings.ok(SUBJECT, format!("{} brokers", metadata.brokers().len()));
        self.check_topics(&client, &metadata, topics)?;
        self.check_group(&client)?;
        self.check_retention(topics);
        check::check(&self.config, &metadata, self.left(), &mut self.findings);
        Ok(())
    }

    fn left(&self) -> Duration {
        PART_LIMIT.saturating_sub(self.started.elapsed())
    }

    fn check_topics(
        &mut self,
        client: &BaseConsumer<CommandContext>,
        metadata: &Metadata,
        topics: &[String],
    ) -> KafkaResult<()> {
        let missing = missing(metadata, topics);
        if !missing.is_empty() {
            let text = format!("topics do not exist, or may not be described: {missing:?}");
            let cure = "create those that this deployment uses, or permit the worker to read them";
            self.findings.note(SUBJECT, text, cure);
        }
        let existing = topics.iter().filter(|topic| !missing.contains(&topic.as_str()));
        let mut readable = 0;
        for topic in existing {
            match self.read_error(client, topic)? {
                None => readable += 1,
                Some(error) => {
                    let cure = format!("permit Read on the topic, {ACLS}");
                    self.findings.failed(SUBJECT, format!("{topic}: {error}"), &cure);
                }
            }
        }
        self.findings.ok(SUBJECT, format!("{readable} topics can be read"));
        Ok(())
    }

    /// Returns why the end of a topic's first partition cannot be read.
    fn read_error(
        &mut self,
        client: &BaseConsumer<CommandContext>,
        topic: &str,
    ) -> KafkaResult<Option<String>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::End)?;
        client.assign(&list)?;
        while !self.left().is_zero() {
            match client.poll(self.left()) {
                None => {}
                // The client has dropped what it had read of the last topic.
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                // It does not concern the topic.
                Some(Err(error)) if is_of_group(&error) => self.is_group_denied = true,
                Some(Err(error)) => {
                    return Ok(Some(
                        error
                            .rdkafka_error_code()
                            .map_or_else(|| error.to_string(), |code| code.to_string()),
                    ));
                }
            }
        }
        Ok(Some("no answer in time".to_owned()))
    }

    /// Commits an offset of a topic that does not exist: the brokers check the permission for the
    /// group first, and then refuse.
    fn check_group(&mut self, client: &BaseConsumer<CommandContext>) -> KafkaResult<()> {
        let group = &self.config.settings.kafka_consumer_group;
        let mut list = TopicPartitionList::new();
        let topic = format!("check-{}", Uuid::new_v4());
        list.add_partition_offset(&topic, 0, Offset::Offset(0))?;
        // A commit would wait for a coordinator without a time limit.
        let limit = self.left().min(COORDINATOR_LIMIT);
        let unavailable = client.committed_offsets(list.clone(), limit).err();
        if unavailable.is_none() {
            let refusal = client.commit(&list, CommitMode::Sync).err();
            self.is_group_denied |= refusal.as_ref().is_some_and(is_of_group);
        }
        client.unassign()?;
        while let Some(event) = client.poll(Duration::ZERO) {
            self.is_group_denied |= event.as_ref().is_err_and(is_of_group);
        }
        if self.is_group_denied {
            let cure = format!("permit Read on the group, {ACLS}");
            self.findings.failed(SUBJECT, format!("the group {group} is denied"), &cure);
        } else if let Some(error) = unavailable {
            self.findings.failed(SUBJECT, format!("the group {group}: {error}"), UNREACHABLE);
        } else {
            self.findings.ok(SUBJECT, format!("the group {group} may be used"));
        }
        Ok(())
    }

    fn check_retention(&mut self, topics: &[String]) {
        if self.config.settings.max_event_age.is_some() {
            return;
        }
        let kept = Handle::current().block_on(retention::topics_kept_longer(&self.config, topics));
        if let Ok(kept) = kept
            && !kept.is_empty()
        {
            let text = format!("topics keep records longer than IDEMPOTENCY_TTL: {kept:?}");
            let cure = "set MAX_EVENT_AGE, so that a loss of offsets publishes no old events again";
            self.findings.note(SUBJECT, text, cure);
        }
    }
}

/// Returns whether the brokers deny access to the group.
fn is_of_group(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
}
