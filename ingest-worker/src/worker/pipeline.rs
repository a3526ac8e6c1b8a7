//! The way of records from a source to Redis: everything of a worker but its Kafka clients, checks
//! and ports. Public, with the boundary to the Kafka client, for `tests/simulation`, which runs it
//! over a simulated cluster and network.

use std::time::Duration;

use shared::{admin::Readiness, redis::RedisClient, trace::Tracer};

use crate::{
    accounting::Accounting,
    config::{Config, Settings},
    domain::{classify::Classifier, dispatch::Dispatcher, routes::Routes},
    infrastructure::{
        kafka::{batch::BatchProcessor, consume_loop::Limits},
        redis::{RedisStore, Retention},
    },
};
pub use crate::{
    infrastructure::kafka::{
        Admitted, ConsumeLoop, DeadLetter, DeadLetterSink, InFlightId, InFlightRecord, MAX_BATCH,
        Offsets, OwnedRecord, Partition, RecordSource, RewindTo, SourceRecord,
    },
    metrics::Metrics,
};

/// Processes records; see [`Pipeline::consume`].
#[derive(Debug)]
pub struct Pipeline {
    pub(super) processor: BatchProcessor<RedisStore, RedisStore>,
    pub(super) store: RedisStore,
    accounting: Accounting,
    limits: Limits,
}

impl Pipeline {
    /// A pipeline to `redis`, which need not be available yet.
    #[must_use]
    pub fn new(
        config: &Config,
        redis: RedisClient,
        metrics: Metrics,
        readiness: Readiness,
        tracer: Option<Tracer>,
    ) -> Self {
        let settings = &config.settings;
        let store = store(config, redis, metrics.clone());
        let classifier = classifier(config, routes(config)).with_traceparent(tracer.is_some());
        let dispatcher = Dispatcher::new(store.clone(), store.clone());
        let accounting = Accounting::new(metrics.clone(), readiness);
        let limits = Limits {
            group: settings.kafka_consumer_group.clone(),
            rewind_limit: rewind_limit(settings),
            owner_wait: settings.owner_wait,
            max_parked: settings.owner_wait_limit.get(),
        };
        let processor = BatchProcessor { classifier, dispatcher, metrics, tracer };
        Self { processor, store, accounting, limits }
    }

    /// Returns the loop that moves the records of `source` to Redis, or to `dead_letters`.
    pub fn consume<'c, S: RecordSource, L: DeadLetterSink>(
        &'c self,
        source: S,
        dead_letters: &'c L,
    ) -> ConsumeLoop<'c, S, RedisStore, RedisStore, L>
    where
        S::Record: 'c,
    {
        ConsumeLoop::new(source, &self.processor, dead_letters, &self.accounting, &self.limits)
    }
}

/// Returns the routes of a deployment.
pub(crate) fn routes(config: &Config) -> Routes {
    Routes::new(config.settings.notification_source, |topic| config.topic(topic))
}

/// Returns what decides what each record is.
pub(crate) fn classifier(config: &Config, routes: Routes) -> Classifier {
    let settings = &config.settings;
    Classifier::new(routes, settings.idempotency_identity, settings.max_event_age)
        .with_max_size(settings.max_notification_size)
        .with_max_reread_age(settings.idempotency_ttl)
        .with_max_restored_age(settings.history_ttl.max(rewind_limit(settings)))
}

/// Returns the store on `redis`.
pub(crate) fn store(config: &Config, redis: RedisClient, metrics: Metrics) -> RedisStore {
    RedisStore::new(redis, retention(&config.settings), config.replica_ack(), metrics)
}

/// Returns the age of the oldest events from which histories are rebuilt. The claim of an older one
/// has expired, also where its history has survived: it would be added there again.
fn rewind_limit(settings: &Settings) -> Duration {
    settings.rewind_limit.min(settings.idempotency_ttl)
}

fn retention(settings: &Settings) -> Retention {
    Retention {
        seen: settings.idempotency_ttl,
        history: settings.history_ttl,
        history_length: settings.history_max_len,
        owners: settings.owner_ttl,
    }
}

#[cfg(test)]
mod tests {
    use shared::config;

    use super::*;

    #[test]
    fn histories_are_rebuilt_from_events_whose_claims_have_not_expired() {
        for (idempotency_ttl, minutes) in [("24h", 60), ("10m", 10)] {
            let arguments = ["w", "--rewind-limit", "1h", "--idempotency-ttl", idempotency_ttl];
            let (config, _) =
                config::read::<Config, _, _>(crate::config::command(), arguments).unwrap();
            assert_eq!(rewind_limit(&config.settings), Duration::from_mins(minutes));
        }
    }
}
