//! Whether the dead-letter topic is compacted. Compaction keeps the last record of each key, and
//! none without a value.

use std::{
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};

use rdkafka::{ClientConfig, admin::ConfigResource, types::RDKafkaErrorCode};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    config::Config,
    infrastructure::kafka::{client_config, topic_config},
};

/// Interval at which the topic's configuration is read while dead letters are written: it may be
/// altered, and the topic may be created again.
const INTERVAL: Duration = Duration::from_secs(30);

/// The last known configuration of the dead-letter topic.
pub(super) struct Compaction {
    topic: String,
    client: ClientConfig,
    /// When it was read, and whether the topic is compacted.
    last: Mutex<Option<(Instant, bool)>>,
    warned: Once,
}

impl Compaction {
    pub(super) fn new(config: &Config) -> Self {
        let topic = config.settings.dead_letter_topic.clone();
        let client = client_config::query(config);
        Self { topic, client, last: Mutex::default(), warned: Once::new() }
    }

    /// Returns whether the topic is compacted, as far as the brokers let the worker know.
    pub(super) async fn is_compacted(&self) -> bool {
        let last = *self.last();
        if let Some((read_at, is_compacted)) = last
            && read_at.elapsed() < INTERVAL
        {
            return is_compacted;
        }
        let is_compacted = self.read().await.or(last.map(|(_, is_compacted)| is_compacted));
        let is_compacted = is_compacted.unwrap_or(false);
        *self.last() = Some((Instant::now(), is_compacted));
        is_compacted
    }

    async fn read(&self) -> Option<bool> {
        let described = topic_config::describe(&self.client, &[&self.topic]).await;
        let described =
            described.inspect_err(|error| debug!(%error, "no configuration of the topic"));
        match described.ok()?.pop()? {
            Ok(topic) => Some(has_compaction(&topic)),
            Err(RDKafkaErrorCode::UnknownTopicOrPartition) => None,
            Err(error) => {
                self.warned.call_once(|| {
                    warn!(
                        kafka.topic = self.topic,
                        %error,
                        "cannot read whether the dead-letter topic is compacted, assuming it is not"
                    );
                });
                None
            }
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, bool)>> {
        // Each change is a single assignment, so a poisoned value is still consistent.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_compaction(topic: &ConfigResource) -> bool {
    let policy = topic_config::value(topic, "cleanup.policy");
    policy.is_some_and(|policy| policy.split(',').any(|policy| policy.trim() == "compact"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_whose_policy_contains_compact_is_compacted() {
        let with = |policy| has_compaction(&topic_config::topic_with("cleanup.policy", policy));
        assert!(with("compact") && with("delete,compact"));
        assert!(!with("delete") && !with(""));
    }
}
