//! Every setting that the worker reads.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches};
use shared::{
    config::{Validate, duration, positive_duration},
    events::Topic,
    redis::{RedisSettings, ReplicaAck},
    telemetry::TelemetrySettings,
    trace::TraceSettings,
};

use crate::domain::{
    idempotency::IdentityRule,
    routes::{NotificationSource, ROUTES},
};

/// The worker's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those with a field of their own.
    pub fixed: Fixed,
    /// The topic that each topic setting names.
    topics: HashMap<&'static str, String>,
    /// Properties for the Kafka client itself, by the client's names.
    pub kafka_properties: Vec<(String, String)>,
}

/// The settings that do not follow from the routing table.
#[derive(Clone, Debug, clap::Args)]
pub struct Fixed {
    /// Kafka brokers to start from, `host:port`, separated by commas
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", default_value = "localhost:9092")]
    pub kafka_bootstrap_servers: String,
    /// Consumer group that the workers share
    #[arg(long, env = "KAFKA_CONSUMER_GROUP", default_value = "websocket-service-consumer")]
    pub kafka_consumer_group: String,
    /// Name of this client in the brokers' logs
    #[arg(long, env = "KAFKA_CONSUMER_CLIENT_ID", default_value = "websocket-service-client")]
    pub kafka_consumer_client_id: String,
    /// Where a group without committed offsets starts
    #[arg(long, env = "KAFKA_AUTO_OFFSET_RESET", default_value = "earliest", value_parser = ["earliest", "latest"])]
    pub kafka_auto_offset_reset: String,
    /// Topic for records that cannot be used
    #[arg(long, env = "DEAD_LETTER_TOPIC", default_value = "huleedu.websocket.dead-letter.v1")]
    pub dead_letter_topic: String,
    /// Which of two reports of one fact is used
    #[arg(long, env = "NOTIFICATION_SOURCE", default_value = "domain")]
    pub notification_source: NotificationSource,
    /// What makes two records the same event
    #[arg(long, env = "IDEMPOTENCY_IDENTITY", default_value = "event_id")]
    pub idempotency_identity: IdentityRule,
    /// How long a published event is recognised when it comes again
    #[arg(long, env = "IDEMPOTENCY_TTL", default_value = "24h", value_parser = positive_duration)]
    pub idempotency_ttl: Duration,
    /// About how many notifications are kept for a user to resume from
    #[arg(long, env = "HISTORY_MAX_LEN", default_value = "256")]
    pub history_max_len: std::num::NonZeroUsize,
    /// How long they are kept after the last one
    #[arg(long, env = "HISTORY_TTL", default_value = "24h", value_parser = positive_duration)]
    pub history_ttl: Duration,
    /// How long the owner of a batch or class is remembered
    #[arg(long, env = "OWNER_TTL", default_value = "30d", value_parser = positive_duration)]
    pub owner_ttl: Duration,
    /// How long an event waits for its owner to become known
    #[arg(long, env = "OWNER_WAIT", default_value = "30s", value_parser = duration)]
    pub owner_wait: Duration,
    /// Most events that may wait for their owners; then their partitions pause
    #[arg(long, env = "OWNER_WAIT_LIMIT", default_value = "5000")]
    pub owner_wait_limit: std::num::NonZeroUsize,
    /// Events older than this are skipped; not set: none are
    #[arg(long, env = "MAX_EVENT_AGE", value_parser = positive_duration)]
    pub max_event_age: Option<Duration>,
    /// How long a stop may take to finish what is in hand
    #[arg(long, env = "SHUTDOWN_GRACE", default_value = "20s", value_parser = positive_duration)]
    pub shutdown_grace: Duration,
    /// Address to listen on
    #[arg(long, env = "BIND_ADDRESS", default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Port of `/livez`, `/readyz` and `/metrics`; 0 takes any free one
    #[arg(long, env = "ADMIN_PORT", default_value = "9090")]
    pub admin_port: u16,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its own type documents it")]
    pub redis: RedisSettings,
    /// How many replicas must have what was published before it counts; 0: the master alone
    #[arg(long, env = "REDIS_WAIT_REPLICAS", default_value = "0")]
    pub redis_wait_replicas: u32,
    /// How long they may take before the same is published again; less than `REDIS_RESPONSE_TIMEOUT`
    #[arg(long, env = "REDIS_WAIT_TIMEOUT", default_value = "1s", value_parser = positive_duration)]
    pub redis_wait_timeout: Duration,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its own type documents it")]
    pub telemetry: TelemetrySettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "its own type documents it")]
    pub trace: TraceSettings,
}

/// Environment variables with this prefix are properties of the Kafka client.
const PROPERTY_PREFIX: &str = "KAFKA_PROPERTY_";

impl Config {
    /// What replicas must have acknowledged, if anything.
    #[must_use]
    pub fn replica_ack(&self) -> Option<ReplicaAck> {
        let (replicas, timeout) = (self.fixed.redis_wait_replicas, self.fixed.redis_wait_timeout);
        (replicas > 0).then_some(ReplicaAck { replicas, timeout })
    }

    /// The name of a topic in this deployment.
    #[must_use]
    pub fn topic(&self, topic: Topic) -> String {
        self.topics.get(topic.setting).cloned().unwrap_or_else(|| topic.default.to_owned())
    }
}

/// The worker's command line, for help and for the list of settings.
#[must_use]
pub fn command() -> Command {
    let command = Fixed::augment_args(Command::new("ingest-worker"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Turns domain events from Kafka into notifications on Redis")
        .long_about(None)
        .after_help(
            "KAFKA_PROPERTY_<NAME> sets any property of librdkafka; its dots are underscores.",
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

fn topic_name(name: &str) -> Result<String, String> {
    let valid = (1..=249).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let rule = "a topic has 1 to 249 letters, digits and . _ -";
    if valid { Ok(name.to_owned()) } else { Err(rule.into()) }
}

impl FromArgMatches for Config {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let topic = |topic: Topic| Some((topic.setting, matches.get_one(topic.setting).cloned()?));
        Ok(Self {
            fixed: Fixed::from_arg_matches(matches)?,
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
        let dead_letters = &self.fixed.dead_letter_topic;
        let mut problems = Vec::new();
        if let Err(rule) = topic_name(dead_letters) {
            problems.push(format!("DEAD_LETTER_TOPIC: {rule}"));
        }
        for (setting, topic) in self.topics.iter().filter(|(_, topic)| *topic == dead_letters) {
            problems.push(format!("DEAD_LETTER_TOPIC and {setting} are the same topic: {topic}"));
        }
        let longest = self.fixed.redis.redis_response_timeout;
        if self.replica_ack().is_some_and(|ack| ack.timeout >= longest) {
            problems.push("REDIS_WAIT_TIMEOUT: less than REDIS_RESPONSE_TIMEOUT".into());
        }
        problems
    }
}

/// The client's properties among some environment variables, by the client's names.
fn kafka_properties(
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> Vec<(String, String)> {
    let property = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.to_str()?.strip_prefix(PROPERTY_PREFIX)?.to_lowercase().replace('_', ".");
        Some((name, value.to_str()?.to_owned()))
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
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn client_properties_are_written_with_dots() {
        let variables = [("KAFKA_PROPERTY_SASL_MECHANISM", "PLAIN"), ("PATH", "/bin")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let properties = kafka_properties(variables.into_iter());
        assert_eq!(properties, [("sasl.mechanism".to_owned(), "PLAIN".to_owned())]);
    }

    #[test]
    fn dead_letters_may_not_go_to_a_topic_that_is_read() {
        let arguments = ["ingest-worker", "--dead-letter-topic", "t", "--class-created-topic", "t"];
        let Err(ConfigError::Invalid(problems)) =
            config::read::<Config, _, _>(command(), arguments)
        else {
            panic!("the settings are invalid");
        };
        assert_eq!(problems, ["DEAD_LETTER_TOPIC and CLASS_CREATED_TOPIC are the same topic: t"]);
    }
}
