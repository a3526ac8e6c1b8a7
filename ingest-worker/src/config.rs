//! The worker's settings: parses and validates them, reads no files and connects to nothing.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches};
use shared::{
    config::{Secret, Validate, duration, positive_duration},
    events::Topic,
    keys::MAX_HISTORY_LENGTH,
    redis::{RedisSettings, ReplicaAck},
    telemetry::TelemetrySettings,
    trace::TraceSettings,
};

use crate::domain::{
    idempotency::IdentityRule,
    routes::{NotificationSource, ROUTES},
};

/// The worker's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// All settings but topics and Kafka properties.
    pub settings: Settings,
    /// Topic names by setting.
    topics: HashMap<&'static str, String>,
    /// Properties of librdkafka by name. Any of them may be a credential.
    pub(crate) kafka_properties: Vec<(String, Secret)>,
}

/// The settings that do not follow from the routing table. The doc comments are the help texts.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Kafka bootstrap servers, `host:port`, separated by commas
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", default_value = "localhost:9092")]
    pub(crate) kafka_bootstrap_servers: String,
    /// Consumer group of the workers
    #[arg(long, env = "KAFKA_CONSUMER_GROUP", default_value = "websocket-service-consumer", value_parser = group_id)]
    pub(crate) kafka_consumer_group: String,
    /// Client id, as the brokers log it
    #[arg(long, env = "KAFKA_CONSUMER_CLIENT_ID", default_value = "websocket-service-client")]
    pub(crate) kafka_consumer_client_id: String,
    /// Start position of a group without committed offsets
    #[arg(long, env = "KAFKA_AUTO_OFFSET_RESET", default_value = "earliest", value_parser = ["earliest", "latest"])]
    pub(crate) kafka_auto_offset_reset: String,
    /// Dead-letter topic: records that cannot be processed
    #[arg(long, env = "DEAD_LETTER_TOPIC", default_value = "huleedu.websocket.dead-letter.v1")]
    pub(crate) dead_letter_topic: String,
    /// Source of facts that services report twice: domain events, teacher notifications, or both
    #[arg(long, env = "NOTIFICATION_SOURCE", default_value = "domain")]
    pub(crate) notification_source: NotificationSource,
    /// Identity of an event for idempotency: its `event_id`, or a hash of type and payload
    #[arg(long, env = "IDEMPOTENCY_IDENTITY", default_value = "event_id")]
    pub(crate) idempotency_identity: IdentityRule,
    /// Time for which a published event is recognised as a duplicate
    #[arg(long, env = "IDEMPOTENCY_TTL", default_value = "24h", value_parser = positive_duration)]
    pub(crate) idempotency_ttl: Duration,
    /// Maximum bytes of a notification; longer lists in it are cut, with `truncated` and their
    /// count
    #[arg(long, env = "MAX_NOTIFICATION_SIZE", default_value = "65536", value_parser = notification_size)]
    pub(crate) max_notification_size: usize,
    /// Approximate number of notifications per user that clients can resume from
    #[arg(long, env = "HISTORY_MAX_LEN", default_value = "256", value_parser = history_length)]
    pub(crate) history_max_len: usize,
    /// Lifetime of a user's notifications after the last one
    #[arg(long, env = "HISTORY_TTL", default_value = "24h", value_parser = positive_duration)]
    pub(crate) history_ttl: Duration,
    /// Lifetime of the owner of a batch or class after the last event that states it
    #[arg(long, env = "OWNER_TTL", default_value = "30d", value_parser = positive_duration)]
    pub(crate) owner_ttl: Duration,
    /// Maximum wait of an event for its owner to become known, then it is dead-lettered
    #[arg(long, env = "OWNER_WAIT", default_value = "30s", value_parser = duration)]
    pub(crate) owner_wait: Duration,
    /// Limit of parked records and unacknowledged dead letters; at the limit their partitions pause
    #[arg(long, env = "OWNER_WAIT_LIMIT", default_value = "5000")]
    pub(crate) owner_wait_limit: std::num::NonZeroUsize,
    /// Age above which events are ignored; without it only events that are read again after a loss
    /// of offsets and are older than IDEMPOTENCY_TTL
    #[arg(long, env = "MAX_EVENT_AGE", value_parser = positive_duration)]
    pub(crate) max_event_age: Option<Duration>,
    /// Age of the oldest events from which histories are rebuilt after Redis has lost all keys, at
    /// most IDEMPOTENCY_TTL; 0: they are not rebuilt
    #[arg(long, env = "REWIND_LIMIT", default_value = "1h", value_parser = duration)]
    pub(crate) rewind_limit: Duration,
    /// Time limit of a graceful shutdown
    #[arg(long, env = "SHUTDOWN_GRACE", default_value = "20s", value_parser = positive_duration)]
    pub(crate) shutdown_grace: Duration,
    /// Address to listen on, for the admin port
    #[arg(long, env = "BIND_ADDRESS", default_value = "0.0.0.0")]
    pub(crate) bind_address: IpAddr,
    /// Port for probes and metrics; 0: a free port, which the log names
    #[arg(long, env = "ADMIN_PORT", default_value = "9090")]
    pub(crate) admin_port: u16,
    /// Redis.
    #[command(flatten)]
    pub(crate) redis: RedisSettings,
    /// Replicas that must acknowledge a notification before its offset is committed; 0: none
    #[arg(long, env = "REDIS_WAIT_REPLICAS", default_value = "0")]
    pub(crate) redis_wait_replicas: u32,
    /// Maximum wait for the replicas, then the batch is retried; less than half of
    /// `REDIS_RESPONSE_TIMEOUT`
    #[arg(long, env = "REDIS_WAIT_TIMEOUT", default_value = "900ms", value_parser = positive_duration)]
    pub(crate) redis_wait_timeout: Duration,
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
    /// Traces.
    #[command(flatten)]
    pub(crate) trace: TraceSettings,
}

/// What the program is, for `--help`.
pub(crate) const ABOUT: &str =
    "Consumes domain events from Kafka and publishes notifications to Redis, without duplicates";

/// Prefix of environment variables that set properties of librdkafka.
const PROPERTY_PREFIX: &str = "KAFKA_PROPERTY_";

impl Config {
    /// The replicas that must acknowledge each write; `None` for none.
    #[must_use]
    pub(crate) fn replica_ack(&self) -> Option<ReplicaAck> {
        let (replicas, timeout) =
            (self.settings.redis_wait_replicas, self.settings.redis_wait_timeout);
        (replicas > 0).then_some(ReplicaAck { replicas, timeout })
    }

    /// Returns the name of a topic in this deployment.
    #[must_use]
    pub(crate) fn topic(&self, topic: Topic) -> String {
        self.topics.get(topic.setting).cloned().unwrap_or_else(|| topic.default.to_owned())
    }

    /// Returns whether workers consume a topic, with any source of notifications.
    pub(crate) fn consumes(&self, topic: &str) -> bool {
        let mut routes = ROUTES.iter();
        routes.any(|route| self.topic(route.topic) == topic || route.other_topics.contains(&topic))
    }
}

/// Returns the command line, from which help and the settings table are made.
#[must_use]
pub fn command() -> Command {
    let command = Settings::augment_args(Command::new("ingest-worker"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(
            "KAFKA_PROPERTY_<NAME> sets any property of librdkafka, with underscores for its dots.",
        );
    command.args(ROUTES.iter().map(|route| {
        let Topic { setting, default } = route.topic;
        Arg::new(setting)
            .long(setting.to_lowercase().replace('_', "-"))
            .env(setting)
            .default_value(default)
            .value_parser(topic_name)
            .help(format!("Topic of `{}`", route.event_type))
    }))
}

/// Reads a size that has room for the parts of a notification that are always there.
fn notification_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (4_096..=1 << 20).contains(size));
    size.ok_or_else(|| "a size is a number of bytes from 4096 to 1048576".into())
}

/// Reads a number of stream entries that Redis can keep for each of many users.
fn history_length(text: &str) -> Result<usize, String> {
    let length = text.parse().ok().filter(|length| (1..=MAX_HISTORY_LENGTH).contains(length));
    length.ok_or_else(|| format!("a history has 1 to {MAX_HISTORY_LENGTH} notifications"))
}

fn group_id(text: &str) -> Result<String, String> {
    let is_blank = text.trim().is_empty();
    if is_blank { Err("a group id is not blank".into()) } else { Ok(text.to_owned()) }
}

fn topic_name(name: &str) -> Result<String, String> {
    let valid = (1..=249).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let rule = "a topic name has 1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`";
    if valid { Ok(name.to_owned()) } else { Err(rule.into()) }
}

impl FromArgMatches for Config {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let topic = |topic: Topic| Some((topic.setting, matches.get_one(topic.setting).cloned()?));
        Ok(Self {
            settings: Settings::from_arg_matches(matches)?,
            topics: ROUTES.iter().filter_map(|route| topic(route.topic)).collect(),
            kafka_properties: kafka_properties(std::env::vars_os()),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<String> {
        let dead_letters = &self.settings.dead_letter_topic;
        let mut problems = Vec::new();
        if let Err(rule) = topic_name(dead_letters) {
            problems.push(format!("DEAD_LETTER_TOPIC: {rule}"));
        }
        for (setting, topic) in self.topics.iter().filter(|(_, topic)| *topic == dead_letters) {
            problems.push(format!("DEAD_LETTER_TOPIC and {setting} are the same topic: {topic}"));
        }
        if problems.is_empty() && self.consumes(dead_letters) {
            problems.push(format!("DEAD_LETTER_TOPIC is a topic that is consumed: {dead_letters}"));
        }
        let response_timeout = self.settings.redis.redis_response_timeout;
        // Owners and notifications of a batch wait one after the other on the same connection.
        if self.replica_ack().is_some_and(|ack| ack.timeout * 2 >= response_timeout) {
            let rule = "less than half of REDIS_RESPONSE_TIMEOUT";
            problems.push(format!("REDIS_WAIT_TIMEOUT must be {rule}"));
        }
        problems.extend(self.settings.redis.problems());
        problems
    }
}

/// Returns the properties of librdkafka that environment variables set.
fn kafka_properties(
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> Vec<(String, Secret)> {
    let property = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.to_str()?.strip_prefix(PROPERTY_PREFIX)?.to_lowercase().replace('_', ".");
        Some((name, value.to_str()?.into()))
    };
    variables.filter_map(property).collect()
}

#[cfg(test)]
mod tests {
    use shared::config::{self, ConfigError};

    use super::*;

    #[test]
    fn the_readme_lists_every_setting() {
        let readme = config::extract_table(include_str!("../README.md"), "ingest-worker");
        assert_eq!(readme.trim(), config::markdown_table(&command()).trim());
    }

    #[test]
    fn two_waits_for_replicas_fit_into_the_response_timeout() {
        let arguments = ["ingest-worker", "--redis-wait-replicas", "1"];
        config::read::<Config, _, _>(command(), arguments).unwrap();
        let half = arguments.into_iter().chain(["--redis-wait-timeout", "1s"]);
        let Err(ConfigError::Invalid(problems)) = config::read::<Config, _, _>(command(), half)
        else {
            panic!("two waits of 1 s exceed 2 s");
        };
        assert_eq!(
            problems,
            ["REDIS_WAIT_TIMEOUT must be less than half of REDIS_RESPONSE_TIMEOUT"]
        );
    }

    #[test]
    fn the_command_line_is_valid() {
        command().debug_assert();
    }

    #[test]
    fn underscores_of_kafka_properties_become_dots() {
        let variables = [("KAFKA_PROPERTY_SASL_MECHANISM", "PLAIN"), ("PATH", "/bin")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let properties = kafka_properties(variables.into_iter());
        assert_eq!(properties, [("sasl.mechanism".to_owned(), "PLAIN".into())]);
    }

    #[test]
    fn the_debug_output_contains_no_value_of_a_kafka_property() {
        let (mut config, _) = config::read::<Config, _, _>(command(), ["ingest-worker"]).unwrap();
        config.kafka_properties = vec![("sasl.oauthbearer.config".into(), "hunter2".into())];
        let output = format!("{config:?}");
        assert!(output.contains("sasl.oauthbearer.config") && !output.contains("hunter2"));
    }

    #[test]
    fn the_dead_letter_topic_is_none_that_is_consumed() {
        let fixed = "huleedu.class.student.created.v1";
        for (dead_letters, class_created, problem) in [
            ("t", "t", "DEAD_LETTER_TOPIC and CLASS_CREATED_TOPIC are the same topic: t".into()),
            (fixed, "t", format!("DEAD_LETTER_TOPIC is a topic that is consumed: {fixed}")),
        ] {
            let topics = ["--dead-letter-topic", dead_letters, "--class-created-topic"];
            let arguments = [&["ingest-worker"], &topics[..], &[class_created]].concat();
            let read = config::read::<Config, _, _>(command(), arguments);
            let Err(ConfigError::Invalid(problems)) = read else {
                panic!("expected invalid settings");
            };
            assert_eq!(problems, [problem]);
        }
    }
}
