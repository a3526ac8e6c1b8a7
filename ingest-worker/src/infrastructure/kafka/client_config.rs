//! The configuration of the Kafka clients: what the worker relies on, then what suits it, which a
//! deployment may override with properties of its own.

use std::time::Duration;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError, types::RDKafkaConfRes};
use shared::config::Secret;

use super::librdkafka_workaround;
use crate::config::Config;

/// Longest wait for a broker's answer to a metadata request.
pub(crate) const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the configuration of the consumer.
pub(crate) fn consumer(config: &Config) -> ClientConfig {
    let settings = &config.settings;
    let mut client = common(config);
    client
        .set("group.id", &settings.kafka_consumer_group)
        .set("auto.offset.reset", &settings.kafka_auto_offset_reset)
        .set("auto.commit.interval.ms", "1000")
        // New topics are found within this time.
        .set("topic.metadata.refresh.interval.ms", "10000")
        // A resumed partition waits for the fetch in progress, which lasts this long while the
        // other partitions have no new records.
        .set("fetch.wait.max.ms", "100")
        // The default of 1 s adds up to 1 s of latency after a full queue.
        .set("fetch.queue.backoff.ms", "10")
        // The default of 500 ms delays the first fetch from a partition's new leader.
        .set("fetch.error.backoff.ms", "100")
        // Records are published in order, so an urgent event waits for all records fetched before
        // it: limits of a few hundredths of a second's worth, per partition and in all.
        .set("fetch.message.max.bytes", "131072")
        .set("queued.max.messages.kbytes", "512")
        // The fetch positions, for the lag of partitions that end in transaction markers.
        .set("statistics.interval.ms", "5000");
    if !uses_consumer_protocol(config) {
        client
            .set("partition.assignment.strategy", "cooperative-sticky")
            // Failure detection time: a dead member's partitions are reassigned after this.
            .set("session.timeout.ms", "10000");
    }
    set_properties(&mut client, config);
    for (name, value) in FIXED {
        client.set(name, value);
    }
    // `offset_reset` needs these messages.
    let contexts = client.get("debug").map_or_else(String::new, |set| format!("{set},"));
    client.set("debug", contexts + "topic").set_log_level(RDKafkaLogLevel::Debug);
    client
}

/// Returns what all clients of the worker have in common.
pub(crate) fn common(config: &Config) -> ClientConfig {
    let settings = &config.settings;
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &settings.kafka_bootstrap_servers)
        .set("client.id", &settings.kafka_consumer_client_id)
        // Plus up to half of it at random: delay until a returning broker is noticed.
        .set("reconnect.backoff.max.ms", "100");
    librdkafka_workaround::disable_rebootstrap_trigger(&mut client);
    client
}

/// Returns the configuration of a client that only queries the brokers. It logs critical messages
/// only; the consumer logs the rest.
pub(crate) fn query(config: &Config) -> ClientConfig {
    let mut client = common(config);
    set_properties(&mut client, config);
    client.set("log_level", "2");
    client
}

/// Returns the configuration of a client that uses the group's offsets without joining it.
pub(crate) fn without_membership(config: &Config) -> ClientConfig {
    let mut client = query(config);
    client
        .set("group.id", &config.settings.kafka_consumer_group)
        .set("enable.auto.commit", "false");
    // A static member's name belongs to a worker.
    client.remove("group.instance.id");
    client
}

/// Applies the properties that the deployment sets.
pub(crate) fn set_properties(client: &mut ClientConfig, config: &Config) {
    for (name, value) in &config.kafka_properties {
        client.set(name, value.expose());
    }
}

/// Returns whether the deployment selects the group protocol of KIP-848.
fn uses_consumer_protocol(config: &Config) -> bool {
    property(config, &["group.protocol"]).is_some_and(|value| value == "consumer")
}

/// Returns the value of the first of these properties that the deployment sets.
fn property<'c>(config: &'c Config, names: &[&str]) -> Option<&'c str> {
    let mut properties = config.kafka_properties.iter();
    properties.find(|(name, _)| names.contains(&&**name)).map(|(_, value)| value.expose())
}

/// Properties that librdkafka rejects together with the group protocol of KIP-848.
const CLASSIC_PROTOCOL_ONLY: [&str; 4] = [
    "group.protocol.type",
    "heartbeat.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

/// Properties that the worker sets itself: an offset is committed only once its record is finished,
/// and with `check.crcs` the client continues at a random offset after a batch whose checksum is
/// wrong.
const FIXED: [(&str, &str); 3] = [
    ("enable.auto.commit", "true"),
    ("enable.auto.offset.store", "false"),
    ("check.crcs", "false"),
];

/// Two names of one property.
const SASL_MECHANISM: [&str; 2] = ["sasl.mechanism", "sasl.mechanisms"];

/// The SASL mechanisms that the client is built with.
const SASL_MECHANISMS: &str = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";

/// Returns a message for each property that librdkafka does not know, whose value it rejects, or
/// that the worker sets itself. Values may be credentials and are not part of it.
pub(crate) fn property_problems(config: &Config) -> Vec<String> {
    let uses_consumer_protocol = uses_consumer_protocol(config);
    let problem = |(name, value): &(String, Secret)| {
        let rule =
            if SASL_MECHANISM.contains(&&**name) && value.expose().eq_ignore_ascii_case("GSSAPI") {
                format!("GSSAPI (Kerberos) is not supported, use {SASL_MECHANISMS}")
            } else if uses_consumer_protocol && CLASSIC_PROTOCOL_ONLY.contains(&&**name) {
                "with the group protocol `consumer` the brokers decide this, remove it".to_owned()
            } else if FIXED.iter().any(|(fixed, _)| fixed == name) {
                "the worker sets this itself, remove it".to_owned()
            } else {
                rejection(name, value)?
            };
        Some(format!("KAFKA_PROPERTY_{}: {rule}", name.to_uppercase().replace('.', "_")))
    };
    let mut problems: Vec<_> = config.kafka_properties.iter().filter_map(problem).collect();
    let protocol = property(config, &["security.protocol"]).unwrap_or_default();
    let has_sasl = protocol.to_ascii_lowercase().starts_with("sasl");
    if has_sasl && property(config, &SASL_MECHANISM).is_none() {
        problems.push(format!("KAFKA_PROPERTY_SASL_MECHANISM: is not set, use {SASL_MECHANISMS}"));
    }
    problems
}

/// Returns why librdkafka does not take a property, if it does not.
fn rejection(name: &str, value: &Secret) -> Option<String> {
    let error = ClientConfig::new().set(name, value.expose()).create_native_config().err()?;
    Some(match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => {
            format!("librdkafka has no property {name}")
        }
        _ => format!("librdkafka rejects the value of {name}"),
    })
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::BaseConsumer;
    use shared::config;

    use super::*;
    use crate::config::command;

    fn with_properties(properties: &[(&str, &str)]) -> Config {
        let (mut config, _) = config::read::<Config, _, _>(command(), ["ingest-worker"]).unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).into());
        config.kafka_properties = properties.iter().map(owned).collect();
        config
    }

    #[test]
    fn unknown_properties_and_invalid_values_are_named_without_the_value() {
        let config = with_properties(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.pasword", "hunter2"),
            ("sasl.jaas.config", "hunter2"),
            ("sasl.mechanisms", "PLAIN"),
            ("session.timeout.ms", "hunter2"),
        ]);
        assert_eq!(
            property_problems(&config),
            [
                "KAFKA_PROPERTY_SASL_PASWORD: librdkafka has no property sasl.pasword",
                "KAFKA_PROPERTY_SASL_JAAS_CONFIG: librdkafka rejects the value of sasl.jaas.config",
                "KAFKA_PROPERTY_SESSION_TIMEOUT_MS: librdkafka rejects the value of session.timeout.ms",
            ]
        );
    }

    #[test]
    fn a_sasl_mechanism_that_is_missing_or_not_supported_is_refused_with_the_supported_ones() {
        for (properties, rule) in [
            (&[("sasl.mechanism", "GSSAPI")][..], "GSSAPI (Kerberos) is not supported"),
            (&[("sasl.mechanisms", "gssapi")], "GSSAPI (Kerberos) is not supported"),
            (&[("security.protocol", "sasl_plaintext")], "is not set"),
        ] {
            let problems = property_problems(&with_properties(properties));
            let is_named = |problem: &String| problem.contains(rule) && problem.contains("SCRAM");
            assert!(problems.len() == 1 && is_named(&problems[0]), "{problems:?}");
        }
        let scram = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-512")];
        assert!(property_problems(&with_properties(&scram)).is_empty());
    }

    #[test]
    fn a_property_that_the_worker_sets_itself_is_refused_whatever_its_value() {
        for name in ["check.crcs", "enable.auto.commit", "enable.auto.offset.store"] {
            for value in ["true", "false"] {
                let problems = property_problems(&with_properties(&[(name, value)]));
                let [problem] = &*problems else { panic!("{name}: {problems:?}") };
                assert!(problem.ends_with(": the worker sets this itself, remove it"), "{problem}");
            }
        }
    }

    #[test]
    fn the_consumer_group_protocol_drops_the_defaults_that_conflict_with_it() {
        let config = with_properties(&[("group.protocol", "consumer")]);
        assert!(property_problems(&config).is_empty());
        let created: Result<BaseConsumer, _> = consumer(&config).create();
        assert!(created.is_ok(), "{:?}", created.err());
        let both = [("group.protocol", "consumer"), ("session.timeout.ms", "45000")];
        let problems = property_problems(&with_properties(&both));
        assert!(problems.len() == 1 && problems[0].contains("SESSION_TIMEOUT_MS"), "{problems:?}");
        let classic = consumer(&with_properties(&[]));
        assert_eq!(classic.get("session.timeout.ms"), Some("10000"));
    }
}
