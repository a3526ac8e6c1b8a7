//! What the command `check` finds out about the dead-letter topic.

use std::time::{Duration, SystemTime};

use rdkafka::{
    admin::ConfigResource,
    error::{KafkaError, KafkaResult},
    metadata::{Metadata, MetadataTopic},
    producer::{FutureProducer, FutureRecord},
    types::RDKafkaErrorCode,
};
use shared::findings::Findings;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    config::Config,
    infrastructure::kafka::{client_config, client_context::QuietContext, topic_config},
};

/// What the findings are about.
pub(in crate::infrastructure::kafka) const SUBJECT: &str = "Kafka";

/// Where the permissions are listed.
pub(in crate::infrastructure::kafka) const ACLS: &str = "see ingest-worker/README.md, Kafka ACLs";

/// The longest time ahead for which a timestamp is computed: ten years.
const MAX_AHEAD_MS: i64 = 10 * 365 * 24 * 3_600 * 1_000;

/// Checks that the topic exists and may be written to; blocks for at most `limit`.
pub(in crate::infrastructure::kafka) fn check(
    config: &Config,
    metadata: &Metadata,
    limit: Duration,
    findings: &mut Findings,
) {
    let topic = config.settings.dead_letter_topic.as_str();
    if !metadata.topics().iter().map(MetadataTopic::name).any(|name| name == topic) {
        let text = format!("the dead-letter topic {topic} does not exist, or may not be described");
        let cure = format!("create it and permit the worker to write to it, {ACLS}");
        return findings.failed(SUBJECT, text, &cure);
    }
    let answer = Handle::current().block_on(timeout(limit, write_error(config, topic)));
    match answer.unwrap_or(Ok(Some(RDKafkaErrorCode::OperationTimedOut))) {
        Ok(None) => findings.ok(SUBJECT, format!("the dead-letter topic {topic} can be written")),
        Ok(Some(error)) => {
            let cure = format!("permit Write on the topic, {ACLS}");
            findings.failed(SUBJECT, format!("the dead-letter topic {topic}: {error}"), &cure);
        }
        Err(cause) => {
            let text = format!("not checked whether {topic} can be written: {cause}");
            findings.note(SUBJECT, text, "see the ACLs of the topic");
        }
    }
}

/// Sends a record that the brokers refuse for its timestamp, after they have checked the
/// permission. Returns the reason of another refusal.
///
/// # Errors
/// With the cause if the topic would accept such a record, or its rules are unknown.
async fn write_error(config: &Config, topic: &str) -> Result<Option<RDKafkaErrorCode>, String> {
    let described = topic_config::describe(&client_config::query(config), &[topic]).await;
    let described = described.map_err(|error| error.to_string())?.pop();
    let described = described.ok_or("no configuration")?.map_err(|error| error.to_string())?;
    let ahead = refused_from(&described).ok_or("the topic accepts every timestamp")?;
    let producer = client_config::producer(config).create_with_context(QuietContext);
    let producer: FutureProducer<_> = producer.map_err(|error: KafkaError| error.to_string())?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or_default();
    let record = FutureRecord::<(), str>::to(topic).payload("check").timestamp(now + 2 * ahead);
    let sent: KafkaResult<()> =
        producer.send(record, Duration::ZERO).await.map(drop).map_err(|(error, _)| error);
    match sent.err().and_then(|error| error.rdkafka_error_code()) {
        Some(RDKafkaErrorCode::InvalidTimestamp) => Ok(None),
        None => Err("it has accepted a record from the future".to_owned()),
        refusal => Ok(refusal),
    }
}

/// Returns from how many milliseconds ahead on the topic refuses timestamps.
fn refused_from(topic: &ConfigResource) -> Option<i64> {
    let value = |name| topic_config::value(topic, name);
    let is_of_producer = value("message.timestamp.type") == Some("CreateTime");
    // Brokers before version 3.6 do not have this limit.
    let limit = value("message.timestamp.after.max.ms")?.parse::<i64>().ok()?;
    (is_of_producer && (1..MAX_AHEAD_MS).contains(&limit)).then_some(limit)
}
