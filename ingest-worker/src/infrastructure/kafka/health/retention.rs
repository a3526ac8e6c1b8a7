//! Warns about topics that keep records longer than claims live: after an offset reset their old
//! events cannot be recognised as published.

use std::time::Duration;

use anyhow::Context as _;
use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier},
    client::DefaultClientContext,
};
use shared::backoff::Backoff;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    config::Config,
    infrastructure::kafka::client_config::{self, METADATA_TIMEOUT},
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
            Err(error) => debug!(
                error = format!("{error:#}"),
                "reading the retention of topics failed, retrying"
            ),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(backoff.next_delay()) => {}
        }
    }
}

async fn topics_kept_longer(config: &Config, topics: &[String]) -> anyhow::Result<Vec<String>> {
    let client: AdminClient<DefaultClientContext> =
        client_config::query(config).create().context("create the admin client")?;
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(METADATA_TIMEOUT));
    let described = client.describe_configs(&resources, &options).await?;
    // A topic that does not exist yet has no configuration.
    let described = described.into_iter().filter_map(Result::ok);
    let claims = config.settings.idempotency_ttl;
    Ok(described.filter(|topic| keeps_longer(topic, claims)).filter_map(name).collect())
}

fn keeps_longer(topic: &ConfigResource, claims: Duration) -> bool {
    let entry = topic.entries.iter().find(|entry| entry.name == "retention.ms");
    let retention = entry.and_then(|entry| entry.value.as_deref()?.parse::<i64>().ok());
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
    use rdkafka::admin::{ConfigEntry, ConfigSource};

    use super::*;

    fn topic(retention_ms: &str) -> ConfigResource {
        let entry = ConfigEntry {
            name: "retention.ms".into(),
            value: Some(retention_ms.into()),
            source: ConfigSource::DynamicTopic,
            is_read_only: false,
            is_default: false,
            is_sensitive: false,
        };
        let specifier = OwnedResourceSpecifier::Topic("t".into());
        ConfigResource { specifier, entries: vec![entry] }
    }

    #[test]
    fn unlimited_retention_and_one_above_the_lifetime_of_claims_are_too_long() {
        let day = Duration::from_hours(24);
        assert!(keeps_longer(&topic("-1"), day) && keeps_longer(&topic("604800000"), day));
        assert!(!keeps_longer(&topic("86400000"), day) && !keeps_longer(&topic("x"), day));
    }
}
