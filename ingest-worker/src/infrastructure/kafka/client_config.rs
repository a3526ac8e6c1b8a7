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
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("auto.commit.interval.ms", "1000")
        // Failure detection time: a dead member's partitions are reassigned after this.
        .set("session.timeout.ms", "10000")
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
    set_properties(&mut client, config);
    // Not to be overridden: an offset is committed only once its record is finished.
    client.set("enable.auto.commit", "true").set("enable.auto.offset.store", "false");
    // `membership` needs the warnings, among them those of offset resets.
    let debug = tracing::enabled!(tracing::Level::DEBUG);
    client.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Warning });
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

/// Applies the properties that the deployment sets.
pub(crate) fn set_properties(client: &mut ClientConfig, config: &Config) {
    for (name, value) in &config.kafka_properties {
        client.set(name, value.expose());
    }
}

/// Returns a message for each property that librdkafka does not know, or whose value it rejects.
/// Values may be credentials and are not part of it.
pub(crate) fn property_problems(config: &Config) -> Vec<String> {
    let problem = |(name, value): &(String, Secret)| {
        let error = ClientConfig::new().set(name, value.expose()).create_native_config().err()?;
        let rule = match error {
            KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => {
                format!("librdkafka has no property {name}")
            }
            _ => format!("librdkafka rejects the value of {name}"),
        };
        let variable = name.to_uppercase().replace('.', "_");
        Some(format!("KAFKA_PROPERTY_{variable}: {rule}"))
    };
    config.kafka_properties.iter().filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use shared::config;

    use super::*;
    use crate::config::command;

    #[test]
    fn unknown_properties_and_invalid_values_are_named_without_the_value() {
        let (mut config, _) = config::read::<Config, _, _>(command(), ["ingest-worker"]).unwrap();
        config.kafka_properties = vec![
            ("security.protocol".into(), "SASL_SSL".into()),
            ("sasl.pasword".into(), "hunter2".into()),
            ("sasl.jaas.config".into(), "hunter2".into()),
            ("sasl.mechanisms".into(), "PLAIN".into()),
            ("session.timeout.ms".into(), "hunter2".into()),
        ];
        assert_eq!(
            property_problems(&config),
            [
                "KAFKA_PROPERTY_SASL_PASWORD: librdkafka has no property sasl.pasword",
                "KAFKA_PROPERTY_SASL_JAAS_CONFIG: librdkafka rejects the value of sasl.jaas.config",
                "KAFKA_PROPERTY_SESSION_TIMEOUT_MS: librdkafka rejects the value of session.timeout.ms",
            ]
        );
    }
}
