//! Checks that the brokers answer the consumer and the dead-letter producer. Reports a fatal error
//! when they answer a new client but no longer an existing one, which does not recover by itself.
//! The one known cause is worked around in [`crate::infrastructure::kafka::librdkafka_workaround`].

use std::{sync::Arc, time::Duration};

use rdkafka::{
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
};
use shared::admin::Readiness;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::fatal::FatalError;
use crate::{
    config::Config,
    infrastructure::kafka::{
        client_config::{self, METADATA_TIMEOUT},
        client_context::QuietContext,
        consumer::Consumer,
        dead_letters::producer::DeadLetters,
    },
};

/// Pause between two checks; readiness is at most this much behind.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Checks in a row that may find an existing client disconnected while a new one is answered. Each
/// lasts up to [`METADATA_TIMEOUT`], so a broker that has just restarted never reaches the limit.
const MAX_DISCONNECTED: u32 = 3;

/// Sets the readiness condition `kafka` until `stop`. Logs once which subscribed topics are
/// missing.
pub(crate) async fn watch(
    consumer: Arc<Consumer>,
    dead_letters: DeadLetters,
    config: Config,
    readiness: Readiness,
    fatal: FatalError,
    stop: CancellationToken,
) {
    let clients = Arc::new(Clients { consumer, dead_letters, config });
    let (mut topics_logged, mut failed) = (false, 0);
    loop {
        let checked = Arc::clone(&clients);
        let check = tokio::task::spawn_blocking(move || checked.check(topics_logged));
        let reachable = check.await.unwrap_or(Reachable::NoClient);
        debug!(?reachable, "brokers checked");
        if reachable == Reachable::NoClient && clients.consumer.membership().outage.begin() {
            // The client reports only connections that fail, not brokers that do not respond.
            let servers = &clients.config.settings.kafka_bootstrap_servers;
            warn!(servers, "Kafka brokers do not answer");
        }
        topics_logged |= reachable == Reachable::EveryClient;
        failed = if reachable == Reachable::NewClientOnly { failed + 1 } else { 0 };
        readiness.set("kafka", reachable == Reachable::EveryClient);
        if failed >= MAX_DISCONNECTED {
            let reason = "the Kafka brokers answer a new client, but no longer an existing one";
            return fatal.report(reason.to_owned());
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(CHECK_INTERVAL) => {}
        }
    }
}

/// Which clients the brokers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reachable {
    /// The consumer and the producer.
    EveryClient,
    /// A new client, but not both existing ones.
    NewClientOnly,
    /// Not even a new client.
    NoClient,
}

struct Clients {
    consumer: Arc<Consumer>,
    dead_letters: DeadLetters,
    config: Config,
}

impl Clients {
    /// Blocks for up to three times [`METADATA_TIMEOUT`].
    fn check(&self, topics_logged: bool) -> Reachable {
        let consumer = &self.consumer;
        let reached =
            if topics_logged { consumer.reaches_brokers() } else { log_missing_topics(consumer) };
        if reached && self.dead_letters.reaches_brokers() {
            Reachable::EveryClient
        } else if new_client_reaches_brokers(&self.config) {
            Reachable::NewClientOnly
        } else {
            Reachable::NoClient
        }
    }
}

fn log_missing_topics(consumer: &Consumer) -> bool {
    let missing = consumer.missing_topics();
    if let Ok(missing) = &missing
        && !missing.is_empty()
    {
        info!(?missing, "subscribed topics do not exist yet");
    }
    missing.is_ok()
}

fn new_client_reaches_brokers(config: &Config) -> bool {
    let metadata = new_client(config).and_then(|c| c.fetch_metadata(None, METADATA_TIMEOUT));
    metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
}

/// Creates a client that neither joins the group nor commits: it shows what a restarted worker
/// could do.
pub(crate) fn new_client(config: &Config) -> KafkaResult<BaseConsumer<QuietContext>> {
    client_config::without_membership(config).create_with_context(QuietContext)
}
