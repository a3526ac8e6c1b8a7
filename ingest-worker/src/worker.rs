//! The wiring: [`Worker::connect`] builds everything from the settings, [`Worker::run`] moves
//! records until it is told to stop.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use shared::{
    admin::{AdminServer, Readiness},
    lifecycle,
    redis::RedisClient,
    trace::{self, Tracer},
};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    config::Config,
    domain::{classify::Classifier, dispatch::Dispatcher, routes::Routes},
    infrastructure::{
        kafka::{
            batch::Stage,
            consume_loop,
            consumer::Consumer,
            dead_letters::producer::DeadLetters,
            health::{brokers, fatal::FatalError, lag},
        },
        redis::{RedisStore, Retention},
    },
    metrics::Metrics,
};

/// The service, ready to run.
#[derive(Debug)]
pub struct Worker {
    config: Config,
    topics: Vec<String>,
    stage: Stage<RedisStore, RedisStore>,
    store: RedisStore,
    admin: AdminServer,
}

impl Worker {
    /// Binds the admin port and prepares the clients. Neither Kafka nor Redis need be there yet.
    ///
    /// # Errors
    /// Names the setting or address at fault.
    pub async fn connect(config: Config) -> anyhow::Result<Self> {
        let settings = &config.settings;
        let registry = shared::metrics::registry().context("process metrics")?;
        let metrics = Metrics::new(&registry);
        let redis = RedisClient::new(&settings.redis).context("REDIS_URL")?;
        let store = RedisStore::new(
            redis,
            Retention {
                seen: settings.idempotency_ttl,
                history: settings.history_ttl,
                history_length: settings.history_max_len.get(),
                owners: settings.owner_ttl,
            },
            config.replica_ack(),
            metrics.clone(),
        );
        let routes = Routes::new(settings.notification_source, |topic| config.topic(topic));
        let topics = routes.topics().map(str::to_owned).collect();
        let readiness = Readiness::default();
        for condition in ["kafka", "redis", "delivering"] {
            readiness.set(condition, false);
        }
        let address = SocketAddr::new(settings.bind_address, settings.admin_port);
        let admin = AdminServer::bind(address, readiness.clone(), registry).await?;
        let tracer = Tracer::new(&settings.trace, "ingest-worker")?;
        let classifier =
            Classifier::new(routes, settings.idempotency_identity, settings.max_event_age)
                .with_max_size(settings.max_notification_size)
                .with_traceparent(tracer.is_some());
        let dispatcher = Dispatcher::new(store.clone(), store.clone());
        let dead_letters = DeadLetters::new(&config).context("Kafka producer settings")?;
        let stage = Stage { classifier, dispatcher, dead_letters, metrics, readiness, tracer };
        Ok(Self { config, topics, stage, store, admin })
    }

    /// Moves records until `shutdown`, then finishes what is in hand and leaves the group.
    ///
    /// # Errors
    /// When a Kafka property is wrong, or this member of the group cannot go on.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { config, topics, stage, store, admin } = self;
        info!(admin_address = %admin.local_addr()?, "listening");
        let (tasks, admin_stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(admin.run(admin_stop.clone()));
        let consumer = Consumer::subscribe(&config, topics, stage.metrics.clone());
        let consumer = Arc::new(consumer.context("Kafka consumer settings")?);
        let checks = TaskTracker::new();
        let stop_checks = shutdown.child_token();
        let (readiness, metrics) = (stage.readiness.clone(), stage.metrics.clone());
        checks.spawn(check_redis(store, readiness.clone(), metrics, stop_checks.clone()));
        let fatal = FatalError::new(&shutdown);
        checks.spawn(brokers::watch(
            Arc::clone(&consumer),
            stage.dead_letters.clone(),
            config.clone(),
            readiness,
            fatal.clone(),
            stop_checks.clone(),
        ));
        let lag =
            lag::watch(Arc::clone(&consumer), config.clone(), fatal.clone(), stop_checks.clone());
        checks.spawn(lag);
        stage.readiness.set("delivering", true);
        let ended = consume_loop::run(
            &consumer,
            &stage,
            config.settings.owner_wait,
            config.settings.owner_wait_limit.get(),
            fatal.stop_token(),
            config.settings.shutdown_grace,
        )
        .await;
        stage.readiness.set("delivering", false);
        stop_checks.cancel();
        lifecycle::wait_for_tasks(&checks, config.settings.shutdown_grace).await;
        leave(consumer, stage.dead_letters, config.settings.shutdown_grace).await;
        trace::shut_down(stage.tracer, config.settings.shutdown_grace).await;
        admin_stop.cancel();
        lifecycle::wait_for_tasks(&tasks, config.settings.shutdown_grace).await;
        info!("stopped");
        ended?;
        match fatal.reason() {
            Some(reason) => anyhow::bail!("{reason}"),
            None => Ok(()),
        }
    }
}

/// Leaves the group and flushes what was written. Both block, for as long as the brokers take;
/// after `grace` the process ends without.
async fn leave(consumer: Arc<Consumer>, dead_letters: DeadLetters, grace: Duration) {
    let (done, left) = oneshot::channel();
    // The runtime would wait for a thread of its own.
    std::thread::spawn(move || {
        drop(consumer);
        dead_letters.flush(grace);
        done.send(())
    });
    if timeout(grace, left).await.is_err() {
        warn!("the consumer group was not left in time");
    }
}

/// Waits until Redis can be used for the first time; later outages show as undelivered batches.
async fn check_redis(
    store: RedisStore,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut warned = false;
    while let Err(reason) = store.check().await {
        metrics.retries.of(reason.system).inc();
        if !warned {
            warn!(%reason, "waiting for Redis");
            warned = true;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    readiness.set("redis", true);
}
