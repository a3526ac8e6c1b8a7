//! Watches whether the brokers answer the consumer and the producer of dead letters. A client may
//! lose them for good, so that they answer a new one and this one never again; then only a new
//! process helps. The one way that is known is closed, see [`crate::infrastructure::kafka::librdkafka_workaround`].

use std::{sync::Arc, time::Duration};

use rdkafka::{
    config::FromClientConfig as _,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
};
use shared::admin::Readiness;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::fatal::Lost;
use crate::{
    config::Config,
    infrastructure::kafka::{
        consumer::{Consumer, METADATA_TIMEOUT, common_client_config, set_properties},
        dead_letters::producer::DeadLetters,
    },
};

/// How often it is checked that the brokers answer.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How many checks in a row may fail while the brokers answer a new client. Each takes as long as
/// such an answer may take, so that a broker that is just back is never the reason.
const MOST_LOST: u32 = 3;

/// Checks until `stop`, and says once which topics are missing. Reports a client that has lost the
/// brokers for good.
pub async fn watch(
    consumer: Arc<Consumer>,
    dead_letters: DeadLetters,
    config: Config,
    readiness: Readiness,
    lost: Lost,
    stop: CancellationToken,
) {
    let watched = Arc::new(Watched { consumer, dead_letters, config });
    let (mut topics_named, mut failed) = (false, 0);
    loop {
        let watched = Arc::clone(&watched);
        let checked = tokio::task::spawn_blocking(move || watched.check(topics_named));
        let seen = checked.await.unwrap_or(Seen::Nobody);
        topics_named |= seen == Seen::Brokers;
        failed = if seen == Seen::BrokersElsewhere { failed + 1 } else { 0 };
        readiness.set("kafka", seen == Seen::Brokers);
        if failed >= MOST_LOST {
            let reason = "a Kafka client has lost the brokers, which answer a new one";
            return lost.report(reason.to_owned());
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(CHECK_INTERVAL) => {}
        }
    }
}

/// Who answers whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// The brokers answer the worker's clients.
    Brokers,
    /// They answer a new client, and not one of these.
    BrokersElsewhere,
    /// They answer nobody.
    Nobody,
}

struct Watched {
    consumer: Arc<Consumer>,
    dead_letters: DeadLetters,
    config: Config,
}

impl Watched {
    /// Blocks, for three answers at most.
    fn check(&self, topics_named: bool) -> Seen {
        let consumer = &self.consumer;
        let reached =
            if topics_named { consumer.reaches_brokers() } else { name_missing(consumer) };
        if reached && self.dead_letters.reaches_brokers() {
            Seen::Brokers
        } else if a_new_client_reaches_brokers(&self.config) {
            Seen::BrokersElsewhere
        } else {
            Seen::Nobody
        }
    }
}

fn name_missing(consumer: &Consumer) -> bool {
    let missing = consumer.missing_topics();
    if let Ok(missing) = &missing
        && !missing.is_empty()
    {
        info!(?missing, "subscribed topics that do not exist yet");
    }
    missing.is_ok()
}

fn a_new_client_reaches_brokers(config: &Config) -> bool {
    let metadata = new_client(config).and_then(|c| c.fetch_metadata(None, METADATA_TIMEOUT));
    metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
}

/// A client that never joins the group nor commits; to see what one can do that knows nothing yet.
pub(crate) fn new_client(config: &Config) -> KafkaResult<BaseConsumer> {
    let mut client = common_client_config(config);
    set_properties(&mut client, config);
    client.set("group.id", &config.fixed.kafka_consumer_group).set("enable.auto.commit", "false");
    // What it has to complain about, the consumer has said.
    client.set("log_level", "2");
    BaseConsumer::from_config(&client)
}
