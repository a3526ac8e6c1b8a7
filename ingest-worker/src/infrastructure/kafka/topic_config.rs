//! Reads the configuration of topics from the brokers.

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ConfigResource, ConfigResourceResult, ResourceSpecifier},
    error::KafkaResult,
};
use tokio::task::spawn_blocking;

use super::{client_config::METADATA_TIMEOUT, client_context::QuietContext};

/// Returns the configuration of each topic, or why the brokers do not give it.
///
/// # Errors
/// When no broker answers.
pub(super) async fn describe(
    client: &ClientConfig,
    topics: &[&str],
) -> KafkaResult<Vec<ConfigResourceResult>> {
    let client: AdminClient<QuietContext> = client.create_with_context(QuietContext)?;
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(METADATA_TIMEOUT));
    let described = client.describe_configs(&resources, &options).await;
    // Dropping the client blocks.
    spawn_blocking(move || drop(client));
    described
}

/// Returns the value of a setting.
pub(super) fn value<'t>(topic: &'t ConfigResource, setting: &str) -> Option<&'t str> {
    topic.entries.iter().find(|entry| entry.name == setting)?.value.as_deref()
}

/// Returns the configuration of a topic with one setting.
#[cfg(test)]
pub(super) fn topic_with(setting: &str, value: &str) -> ConfigResource {
    use rdkafka::admin::{ConfigEntry, ConfigSource, OwnedResourceSpecifier};

    let entry = ConfigEntry {
        name: setting.into(),
        value: Some(value.into()),
        source: ConfigSource::DynamicTopic,
        is_read_only: false,
        is_default: false,
        is_sensitive: false,
    };
    ConfigResource { specifier: OwnedResourceSpecifier::Topic("t".into()), entries: vec![entry] }
}
