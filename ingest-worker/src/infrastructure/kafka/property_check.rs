//! Finds Kafka properties of a deployment that the worker cannot run with, before it starts.

use rdkafka::{
    ClientConfig, consumer::BaseConsumer, error::KafkaError, producer::BaseProducer,
    types::RDKafkaConfRes,
};
use shared::config::Secret;

use super::client_config::{FIXED, consumer, producer, property, uses_consumer_protocol};
use crate::config::Config;

/// Properties that librdkafka rejects together with the group protocol of KIP-848.
const CLASSIC_PROTOCOL_ONLY: [&str; 4] = [
    "group.protocol.type",
    "heartbeat.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

/// Properties with a setting of their own, which all clients and commands use.
const SETTINGS: [(&str, &str); 5] = [
    ("auto.offset.reset", "KAFKA_AUTO_OFFSET_RESET"),
    ("bootstrap.servers", "KAFKA_BOOTSTRAP_SERVERS"),
    ("client.id", "KAFKA_CONSUMER_CLIENT_ID"),
    ("group.id", "KAFKA_CONSUMER_GROUP"),
    ("metadata.broker.list", "KAFKA_BOOTSTRAP_SERVERS"),
];

/// Two names of one property.
const SASL_MECHANISM: [&str; 2] = ["sasl.mechanism", "sasl.mechanisms"];

/// The SASL mechanisms that the client is built with.
const SASL_MECHANISMS: &str = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";

/// Returns a message for each property that librdkafka does not know, whose value it rejects, or
/// that the worker sets itself. Values may be credentials and are not part of it.
pub(crate) fn property_problems(config: &Config) -> Vec<String> {
    let problem = |(name, value): &(String, Secret)| {
        let rule = refusal(name, value.expose(), config).or_else(|| rejection(name, value))?;
        Some(format!("KAFKA_PROPERTY_{}: {rule}", name.to_uppercase().replace('.', "_")))
    };
    let mut problems: Vec<_> = config.kafka_properties.iter().filter_map(problem).collect();
    let protocol = property(config, &["security.protocol"]).unwrap_or_default();
    let has_sasl = protocol.to_ascii_lowercase().starts_with("sasl");
    if has_sasl && property(config, &SASL_MECHANISM).is_none() {
        problems.push(format!("KAFKA_PROPERTY_SASL_MECHANISM: is not set, use {SASL_MECHANISMS}"));
    }
    if has_sasl && lacks_tokens(config) {
        let rule = "is not `oidc`, the only method by which the worker gets tokens";
        problems.push(format!("KAFKA_PROPERTY_SASL_OAUTHBEARER_METHOD: {rule}"));
    }
    problems
}

/// Returns whether the client needs tokens that a program would have to give it: it would wait for
/// them and connect to no broker, without an error.
fn lacks_tokens(config: &Config) -> bool {
    let is = |names: &[&str], value| {
        property(config, names).is_some_and(|set| set.eq_ignore_ascii_case(value))
    };
    let without_signature = property(config, &["enable.sasl.oauthbearer.unsecure.jwt"]);
    is(&SASL_MECHANISM, "OAUTHBEARER")
        && !is(&["sasl.oauthbearer.method"], "oidc")
        && without_signature.is_none()
}

/// Returns a message for each client that cannot be created, for example because two properties
/// conflict. librdkafka names the properties, not their values.
pub(crate) fn client_problems(config: &Config) -> Vec<String> {
    let [mut consumer, mut producer] = [consumer(config), producer(config)];
    // Without servers nothing connects.
    consumer.remove("bootstrap.servers");
    producer.remove("bootstrap.servers");
    let consumer = consumer.create::<BaseConsumer>().err();
    let producer = producer.create::<BaseProducer>().err();
    let problem = |(client, error)| {
        let rule = match error? {
            KafkaError::ClientCreation(rule) => rule,
            error => error.to_string(),
        };
        Some(format!("KAFKA_PROPERTY_*: the {client} cannot be created: {rule}"))
    };
    [("consumer", consumer), ("dead-letter producer", producer)]
        .into_iter()
        .filter_map(problem)
        .collect()
}

/// Returns why the worker does not take a property, if it does not.
fn refusal(name: &str, value: &str, config: &Config) -> Option<String> {
    let setting = SETTINGS.iter().find(|(property, _)| *property == name);
    Some(if SASL_MECHANISM.contains(&name) && value.eq_ignore_ascii_case("GSSAPI") {
        format!("GSSAPI (Kerberos) is not supported, use {SASL_MECHANISMS}")
    } else if uses_consumer_protocol(config) && CLASSIC_PROTOCOL_ONLY.contains(&name) {
        "with the group protocol `consumer` the brokers decide this, remove it".to_owned()
    } else if let Some((_, setting)) = setting {
        format!("set {setting} instead")
    } else if FIXED.iter().any(|(fixed, _)| *fixed == name) {
        "the worker sets this itself, remove it".to_owned()
    } else if name == "transactional.id" {
        "the worker uses no transactions, remove it".to_owned()
    } else if name == "auto.commit.interval.ms" && value == "0" {
        "with 0 no offset would be committed, use at least 1".to_owned()
    } else if name == "statistics.interval.ms" && value == "0" {
        "with 0 the lag of a partition without new records would be unknown, use at least 1"
            .to_owned()
    } else {
        return None;
    })
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
    fn tokens_that_the_client_cannot_get_are_refused() {
        let base = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "oauthbearer")];
        for (more, is_refused) in [
            (("sasl.oauthbearer.scope", "kafka"), true),
            (("sasl.oauthbearer.method", "default"), true),
            (("sasl.oauthbearer.method", "oidc"), false),
            (("enable.sasl.oauthbearer.unsecure.jwt", "true"), false),
        ] {
            let problems = property_problems(&with_properties(&[base[0], base[1], more]));
            let named = problems.iter().filter(|p| p.contains("SASL_OAUTHBEARER_METHOD")).count();
            assert_eq!(named, usize::from(is_refused), "{more:?}: {problems:?}");
        }
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
        for protocol in ["consumer", "Consumer"] {
            let config = with_properties(&[("group.protocol", protocol)]);
            assert_eq!(property_problems(&config), [""; 0]);
            assert_eq!(client_problems(&config), [""; 0]);
        }
        let both = [("group.protocol", "consumer"), ("session.timeout.ms", "45000")];
        let problems = property_problems(&with_properties(&both));
        assert!(problems.len() == 1 && problems[0].contains("SESSION_TIMEOUT_MS"), "{problems:?}");
        let classic = consumer(&with_properties(&[]));
        assert_eq!(classic.get("session.timeout.ms"), Some("10000"));
    }

    #[test]
    fn a_property_that_stops_commits_dead_letters_or_statistics_is_refused() {
        let refused = [
            ("auto.commit.interval.ms", "0", "KAFKA_PROPERTY_AUTO_COMMIT_INTERVAL_MS: with 0 no"),
            ("statistics.interval.ms", "0", "KAFKA_PROPERTY_STATISTICS_INTERVAL_MS: with 0 the"),
            ("transactional.id", "t", "KAFKA_PROPERTY_TRANSACTIONAL_ID: the worker uses no"),
        ];
        for (name, value, problem) in refused {
            let problems = property_problems(&with_properties(&[(name, value)]));
            assert!(problems.len() == 1 && problems[0].starts_with(problem), "{problems:?}");
        }
        assert!(
            property_problems(&with_properties(&[("auto.commit.interval.ms", "1")])).is_empty()
        );
    }

    #[test]
    fn a_property_with_a_setting_of_its_own_names_the_setting() {
        let problems = property_problems(&with_properties(&[("group.id", "other")]));
        assert_eq!(problems, ["KAFKA_PROPERTY_GROUP_ID: set KAFKA_CONSUMER_GROUP instead"]);
    }

    #[test]
    fn properties_that_conflict_are_named_with_their_client() {
        let config = with_properties(&[("acks", "1")]);
        assert!(property_problems(&config).is_empty());
        let problems = client_problems(&config);
        let [problem] = &*problems else { panic!("{problems:?}") };
        assert!(problem.contains("dead-letter producer") && problem.contains("acks"), "{problem}");
    }
}
