//! Keeps one session with Redis and reconnects after every loss. Then all subscriptions are
//! renewed and every gap is closed from the streams: no socket is closed because of Redis.

use std::{sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError};
use shared::{admin::Readiness, backoff::Backoff, redis::RedisClient};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{debug, error, warn};

use super::{
    backend::RedisBackend,
    balance::{Balancer, GatewayCounts, RebalanceSettings},
    operators::{self, Gateway},
    outage::Outage,
    positions::RedisClock,
    probe::Probe,
    push_handler::PushHandler,
    read_state,
    revocations::RevocationList,
    session::Session,
    stream_reader::StreamReader,
};
use crate::{auth::revocation::Revocations, hub::Hub, metrics::Metrics};

/// The readiness condition that holds from the first session on.
const READINESS: &str = "redis";

/// The condition that holds during a session. It is only reported: taking every gateway out of
/// service would turn an outage of Redis into one of all clients.
const SESSION: &str = "redis_session";

/// The delays between attempts to connect: short enough that a short outage is repaired within a
/// second.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));

/// The delays after Redis refused the credentials or a permission, which an operator has to change.
const REFUSED: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));

/// Keeps the subscriptions of the hub's users.
#[derive(Debug)]
pub struct Subscriber {
    redis: RedisClient,
    hub: Hub,
    readiness: Readiness,
    metrics: Metrics,
    handler: PushHandler,
    /// What the history is read with, while there is a session.
    reader: watch::Sender<Option<StreamReader>>,
    /// The name of the gateway in answers to operators.
    name: String,
    rebalance: RebalanceSettings,
    /// Cancelled when the gateway begins to close its connections.
    draining: CancellationToken,
}

impl Subscriber {
    /// Returns a subscriber that keeps in `reader` what the history can be read with.
    #[must_use]
    pub(crate) fn new(
        redis: RedisClient,
        hub: Hub,
        revocations: Revocations,
        readiness: Readiness,
        metrics: Metrics,
        reader: watch::Sender<Option<StreamReader>>,
    ) -> Self {
        readiness.set(READINESS, false);
        let handler = PushHandler {
            keys: redis.keys.clone(),
            hub: hub.clone(),
            metrics: metrics.clone(),
            revocations: RevocationList::new(revocations, hub.clone(), metrics.clone()),
            clock: RedisClock::default(),
            probe: Probe::new(),
            // Replaced in `run`, which has the other end.
            requests: mpsc::channel(1).0,
            counts: GatewayCounts::default(),
            traces: false,
        };
        let name = String::new();
        let rebalance = RebalanceSettings { percent_per_second: 0.0, min_connections: 0 };
        let draining = CancellationToken::new();
        Self { redis, hub, readiness, metrics, handler, reader, name, rebalance, draining }
    }

    /// Moves connections to other gateways until `draining`.
    #[must_use]
    pub(crate) fn with_rebalancing(
        self,
        rebalance: RebalanceSettings,
        draining: CancellationToken,
    ) -> Self {
        Self { rebalance, draining, ..self }
    }

    /// Answers operators under this name of the gateway.
    #[must_use]
    pub(crate) fn with_name(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Reads the trace context of each frame, if `traces` is true.
    #[must_use]
    pub(crate) fn with_traces(mut self, traces: bool) -> Self {
        self.handler.traces = traces;
        self
    }

    /// Runs until `shutdown`.
    ///
    /// # Panics
    /// If the task has panicked that writes queued frames.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let hub = self.hub.clone();
        let (sender, requests) = mpsc::channel(operators::MAX_QUEUED_REQUESTS);
        self.handler.requests = sender;
        let writing = AbortOnDropHandle::new(tokio::spawn(async move { hub.write_queued().await }));
        let Self { hub, redis, metrics, reader, name, .. } = &self;
        let read_states =
            read_state::serve(hub.read_requests(), reader.subscribe(), &redis.keys, metrics);
        let (keys, clock) = (&redis.keys, &self.handler.clock);
        let gateway = Gateway { name, hub, metrics, keys, clock };
        let answers = gateway.answer(requests, reader.subscribe());
        let (settings, counts, draining) = (self.rebalance, &self.handler.counts, &self.draining);
        let balancer = Balancer { name, hub, metrics, keys, settings, counts, draining };
        let balancing = balancer.run(reader.subscribe());
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep_connected() => {}
            () = read_states => {}
            () = answers => {}
            never = balancing => match never {},
            ended = writing => ended.expect("frames that wait in queues are written"),
        }
    }

    async fn keep_connected(&self) {
        let (mut backoff, mut refusals) = (RECONNECT, REFUSED);
        let mut outage = Outage::at_start();
        loop {
            let lost = Arc::new(Notify::new());
            let handler = PushHandler { probe: Probe::new(), ..self.handler.clone() };
            let probe = handler.probe.clone();
            let connected = RedisBackend::connect(&self.redis, handler, Arc::clone(&lost)).await;
            let refused = match connected {
                Ok(backend) => {
                    // Boxed: its state is large.
                    let session = self.serve(backend, lost, probe, outage, &mut backoff);
                    let (next, refused) = Box::pin(session).await;
                    outage = next;
                    refused
                }
                Err(error) => {
                    self.metrics.redis_connect_failures.inc();
                    log(&error, &mut outage);
                    is_refusal(&error)
                }
            };
            let delay = if refused {
                refusals.next_delay()
            } else {
                refusals.reset();
                backoff.next_delay()
            };
            sleep(delay).await;
        }
    }

    /// Runs a session. Returns the outage after it, which is the one before it if the session ends
    /// before every gap is closed, and whether Redis refused it.
    async fn serve(
        &self,
        backend: RedisBackend,
        lost: Arc<Notify>,
        probe: Probe,
        mut outage: Outage,
        backoff: &mut Backoff,
    ) -> (Outage, bool) {
        let reader = backend.reader();
        let repairing_since = Instant::now();
        let mut session = Session::new(backend, self.hub.clone(), self.metrics.clone(), lost);
        self.readiness.report(SESSION, true);
        self.metrics.redis_connected.set(1);
        self.reader.send_replace(Some(reader.clone()));
        let error = match session.start().await {
            Ok(()) => {
                self.readiness.set(READINESS, true);
                backoff.reset();
                outage.end(repairing_since, &self.metrics, &reader);
                let error = tokio::select! {
                    error = session.run() => error,
                    error = probe.run(&self.redis, &self.metrics) => error,
                };
                self.metrics.redis_outages.inc();
                outage = Outage::begin();
                error
            }
            Err(error) => error,
        };
        drop(session);
        self.reader.send_replace(None);
        self.readiness.report(SESSION, false);
        self.metrics.redis_connected.set(0);
        self.metrics.subscriptions.set(0);
        let (users, refused) = (self.hub.mark_disconnected(), is_refusal(&error));
        if !outage.first_seen(refused) {
            debug!(%error, users, "Redis connection lost, reconnecting");
        } else if refused {
            error!(%error, "Redis refuses a command that the gateway needs, retrying");
        } else {
            warn!(%error, users, "Redis connection lost, reconnecting");
        }
        (outage, refused)
    }
}

/// Logs the first failure and the first refusal of an outage.
fn log(error: &RedisError, outage: &mut Outage) {
    let is_refusal = is_refusal(error);
    if !outage.first_seen(is_refusal) {
        debug!(%error, "connecting to Redis failed");
    } else if error.code() == Some("NOPERM") {
        error!(%error, "Redis refuses a command that the gateway needs, retrying");
    } else if is_refusal {
        error!(%error, "Redis refuses the credentials or the master name in REDIS_URL, retrying");
    } else {
        warn!(%error, "connecting to Redis failed, retrying");
    }
}

fn is_refusal(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed | ErrorKind::MasterNameNotFoundBySentinel
    ) || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}
