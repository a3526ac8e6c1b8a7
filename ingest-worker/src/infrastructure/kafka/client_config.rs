//! The configuration of the Kafka clients: what the worker relies on, then what suits it, which a
//! deployment may override with properties of its own.

use std::time::Duration;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use super::{dead_letters::queue, librdkafka_workaround};
use crate::config::Config;

/// Longest wait for a broker's answer to a metadata request.
pub(crate) const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit for an acknowledgement; then the dead letter is retried with a new producer.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);

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

/// Returns the configuration of an idempotent producer that waits for every in-sync replica.
pub(crate) fn producer(config: &Config) -> ClientConfig {
    let mut client = common(config);
    // Compressed, a record of the largest size has room for the headers.
    client.set("compression.type", "zstd").set("message.max.bytes", queue::MAX_BYTES.to_string());
    set_properties(&mut client, config);
    for name in CONSUMER_ONLY {
        client.remove(name);
    }
    client
        .set("enable.idempotence", "true")
        // A topic accepts or refuses a batch as a whole: others would be reduced with a large
        // dead letter.
        .set("batch.num.messages", "1")
        .set("message.timeout.ms", ACKNOWLEDGED_WITHIN.as_millis().to_string());
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

/// Returns the configuration of a client that only queries the brokers. Of what librdkafka logs, it
/// passes on critical messages only; the consumer logs the rest.
pub(crate) fn query(config: &Config) -> ClientConfig {
    let mut client = common(config);
    set_properties(&mut client, config);
    client.set_log_level(RDKafkaLogLevel::Critical);
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
pub(super) fn uses_consumer_protocol(config: &Config) -> bool {
    property(config, &["group.protocol"])
        .is_some_and(|value| value.eq_ignore_ascii_case("consumer"))
}

/// Returns the value of the first of these properties that the deployment sets.
pub(super) fn property<'c>(config: &'c Config, names: &[&str]) -> Option<&'c str> {
    let mut properties = config.kafka_properties.iter();
    properties.find(|(name, _)| names.contains(&&**name)).map(|(_, value)| value.expose())
}

/// Properties that the worker sets itself: an offset is committed only once its record is finished,
/// and with `check.crcs` the client continues at a random offset after a batch whose checksum is
/// wrong.
pub(super) const FIXED: [(&str, &str); 3] = [
    ("enable.auto.commit", "true"),
    ("enable.auto.offset.store", "false"),
    ("check.crcs", "false"),
];

/// Properties of consumers that a deployment may set and a producer would warn of.
const CONSUMER_ONLY: [&str; 8] = [
    "fetch.wait.max.ms",
    "max.poll.interval.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "partition.assignment.strategy",
];
