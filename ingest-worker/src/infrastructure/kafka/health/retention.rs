//! Warns about topics that keep records longer than claims live: after an offset reset their old
//! events cannot be recognised as published.

use std::time::Duration;

use rdkafka::{
    admin::{ConfigResource, OwnedResourceSpecifier},
    error::KafkaResult,
};
use shared::backoff::Backoff;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    config::Config,
    infrastructure::kafka::{client_config, topic_config},
};

/// Delays between attempts while no broker answers.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1));

/// Logs such topics once, unless `MAX_EVENT_AGE` is set. Retries until the brokers answer or
/// `stop`.
pub(crate) async fn check(config: Config, topics: Vec<String>, stop: CancellationToken) {
    if config.settings.max_event_age.is_some() {
        return;
    }
    let mut backoff = BACKOFF;
    loop {
        match topics_kept_longer(&config, &topics).await {
            Ok(topics) if topics.is_empty() => return,
            Ok(topics) => {
                return warn!(
                    ?topics,
                    "topics keep records longer than IDEMPOTENCY_TTL; without MAX_EVENT_AGE a group \
                     that loses its committed offsets publishes old events again"
                );
            }
            Err(error) => debug!(%error, "reading the retention of topics failed, retrying"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(backoff.next_delay()) => {}
        }
    }
}

/// Returns the topics that keep records longer than claims live.
///
/// # Errors
/// When no broker answers.
pub(crate) async fn topics_kept_longer(
    config: &Config,
    topics: &[String],
) -> KafkaResult<Vec<String>> {
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let described = topic_config::describe(&client_config::query(config), &topics).await?;
    // A topic that does not exist yet has no configuration.
    let described = described.into_iter().filter_map(Result::ok);
    let claims = config.settings.idempotency_ttl;
    Ok(described.filter(|topic| keeps_longer(topic, claims)).filter_map(name).collect())
}

fn keeps_longer(topic: &ConfigResource, claims: Duration) -> bool {
    // Compaction alone keeps the last record of each key without limit.
    if topic_config::value(topic, "cleanup.policy").is_some_and(|policy| policy == "compact") {
        return true;
    }
    let retention = topic_config::value(topic, "retention.ms");
    let retention = retention.and_then(|value| value.parse::<i64>().ok());
    // -1 is without limit.
    let longer = |ms| u64::try_from(ms).map_or(true, |ms| Duration::from_millis(ms) > claims);
    retention.is_some_and(longer)
}

fn name(topic: ConfigResource) -> Option<String> {
    match topic.specifier {
        OwnedResourceSpecifier::Topic(name) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(retention_ms: &str) -> ConfigResource {
        topic_config::topic_with("retention.ms", retention_ms)
    }

    #[test]
    fn unlimited_retention_and_one_above_the_lifetime_of_claims_are_too_long() {
        let day = Duration::from_hours(24);
        assert!(keeps_longer(&topic("-1"), day) && keeps_longer(&topic("604800000"), day));
        assert!(!keeps_longer(&topic("86400000"), day) && !keeps_longer(&topic("x"), day));
    }

    #[test]
    fn a_topic_that_is_only_compacted_keeps_records_too_long() {
        let day = Duration::from_hours(24);
        let with = |policy: &str| {
            let mut topic = topic("86400000");
            topic.entries.extend(topic_config::topic_with("cleanup.policy", policy).entries);
            keeps_longer(&topic, day)
        };
        assert!(with("compact") && !with("compact,delete") && !with("delete"));
    }
}
