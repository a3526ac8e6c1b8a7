//! The wiring: [`Worker::connect`] builds everything from the settings, [`Worker::run`] runs it
//! until shutdown.

pub mod pipeline;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use shared::{
    admin::{AdminServer, Readiness},
    backoff::Backoff,
    lifecycle::RequiredTasks,
    redis::RedisClient,
    telemetry::LogFilter,
    trace::{self, Tracer},
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    accounting::DELIVERING,
    config::Config,
    infrastructure::{
        kafka::{
            consumer::Consumer,
            dead_letters::producer::DeadLetters,
            health::{brokers, fatal::FatalError, lag, retention},
        },
        redis::RedisStore,
    },
    metrics::Metrics,
};
use pipeline::Pipeline;

/// The service, ready to run.
pub struct Worker {
    config: Config,
    consumer: Arc<Consumer>,
    pipeline: Pipeline,
    dead_letters: DeadLetters,
    readiness: Readiness,
    admin: AdminServer,
}

impl Worker {
    /// Binds the admin port and creates the clients. Neither Kafka nor Redis needs to be available
    /// yet.
    ///
    /// # Errors
    /// When an address cannot be bound, or a client refuses its settings.
    pub async fn connect(config: Config) -> anyhow::Result<Self> {
        let settings = &config.settings;
        let registry = shared::metrics::registry().context("process metrics")?;
        let metrics = Metrics::new(&registry);
        let redis = RedisClient::new(&settings.redis).context("REDIS_URL")?;
        let topics = pipeline::routes(&config).topics().map(str::to_owned).collect();
        let readiness = Readiness::default();
        for condition in ["kafka", "redis", DELIVERING] {
            readiness.set(condition, false);
        }
        let address = SocketAddr::new(settings.bind_address, settings.admin_port);
        let admin = AdminServer::bind(address, readiness.clone(), registry).await?;
        let tracer = Tracer::new(&settings.trace, "ingest-worker")?;
        let dead_letters = DeadLetters::new(&config).context("Kafka producer settings")?;
        let consumer = Consumer::subscribe(&config, topics, metrics.clone());
        let consumer = Arc::new(consumer.context("Kafka consumer settings")?);
        let pipeline = Pipeline::new(&config, redis, metrics, readiness.clone(), tracer);
        Ok(Self { config, consumer, pipeline, dead_letters, readiness, admin })
    }

    /// Lets operators change the log level on the admin port.
    #[must_use]
    pub fn with_log_filter(self, log_filter: LogFilter) -> Self {
        Self { admin: self.admin.with_log_filter(log_filter), ..self }
    }

    /// Processes records until `shutdown`, then finishes those in progress and leaves the group,
    /// all within `SHUTDOWN_GRACE`.
    ///
    /// # Errors
    /// When a Kafka client has failed for good, so that only a restart helps.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        info!(admin_address = %self.admin.local_addr()?, "worker started");
        let fatal = FatalError::new(&shutdown);
        let (checks, stop_checks) = (RequiredTasks::new(shutdown.clone()), shutdown.child_token());
        self.spawn_checks(&checks, &fatal, &stop_checks);
        let Self { config, consumer, pipeline, dead_letters, readiness, admin } = self;
        let (tasks, admin_stop) = (RequiredTasks::new(shutdown), CancellationToken::new());
        tasks.spawn(admin.run(admin_stop.clone()));

        readiness.set(DELIVERING, true);
        let mut consume = pipeline.consume(consumer.source(), &dead_letters);
        let result = consume.run(&fatal.stop_token()).await;

        let (begun, grace) = (Instant::now(), config.settings.shutdown_grace);
        let deadline = begun + grace;
        readiness.set(DELIVERING, false);
        stop_checks.cancel();
        // The rest is left for leaving the group, without which its other members wait longer.
        consume.drain(begun + grace * 2 / 3).await;
        let checked = checks.wait(remaining(deadline)).await;
        leave(consumer, dead_letters, deadline).await;
        trace::shut_down(pipeline.processor.tracer, remaining(deadline)).await;
        admin_stop.cancel();
        let served = tasks.wait(remaining(deadline)).await;
        info!("worker stopped");
        result.and(checked).and(served)?;
        match fatal.reason() {
            Some(reason) => anyhow::bail!("{reason}"),
            None => Ok(()),
        }
    }

    fn spawn_checks(&self, tasks: &RequiredTasks, fatal: &FatalError, stop: &CancellationToken) {
        let Pipeline { processor, store, .. } = &self.pipeline;
        let (config, metrics) = (self.config.clone(), processor.metrics.clone());
        tasks.spawn(watch_redis(store.clone(), self.readiness.clone(), metrics, stop.clone()));
        tasks.spawn(brokers::watch(
            Arc::clone(&self.consumer),
            self.dead_letters.clone(),
            config.clone(),
            self.readiness.clone(),
            fatal.clone(),
            stop.clone(),
        ));
        let topics = self.consumer.topics().to_vec();
        tasks.spawn(retention::check(config.clone(), topics, stop.clone()));
        tasks.spawn(lag::watch(Arc::clone(&self.consumer), config, fatal.clone(), stop.clone()));
    }
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Leaves the group and flushes the producer. Both block for as long as the brokers take; after
/// `deadline` the process ends without them.
async fn leave(consumer: Arc<Consumer>, dead_letters: DeadLetters, deadline: Instant) {
    let (done, left) = oneshot::channel();
    let flush_within = remaining(deadline);
    // The runtime would wait for a blocking task of its own.
    std::thread::spawn(move || {
        drop(consumer);
        dead_letters.flush(flush_within);
        done.send(())
    });
    if timeout_at(deadline, left).await.is_err() {
        warn!("consumer group not left within SHUTDOWN_GRACE");
    }
}

/// How often the Redis connection is checked: a NAT or firewall may drop an idle one without
/// notice, and the next event would wait for a response time-out.
const REDIS_CHECK_INTERVAL: Duration = Duration::from_secs(5);
const REDIS_BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// Keeps the Redis connection usable while no events arrive. Readiness waits for the first
/// connection only; later outages show as undelivered batches.
async fn watch_redis(
    store: RedisStore,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut backoff = REDIS_BACKOFF;
    let mut was_available = false;
    let check = async {
        loop {
            match store.check().await {
                Ok(()) => {
                    readiness.set("redis", true);
                    was_available = true;
                    backoff.reset();
                    tokio::time::sleep(REDIS_CHECK_INTERVAL).await;
                }
                Err(error) => {
                    metrics.retries.of(error.system).inc();
                    match (backoff.attempts(), was_available) {
                        (0, false) => warn!(%error, "Redis is not available yet, retrying"),
                        // An event that fails to be delivered is a warning of its own.
                        (0, true) => info!(%error, "Redis connection lost, reconnecting"),
                        _ => {}
                    }
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    };
    stop.run_until_cancelled(check).await;
}
