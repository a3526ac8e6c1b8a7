//! The Redis pub/sub connection: obeys the hub, feeds it, and comes back after every loss.
//! After a loss all subscriptions are renewed and every gap is closed from the streams, in
//! place: no socket is closed because of Redis.

use redis::{ErrorKind, RedisError};
use shared::{
    admin::Readiness,
    redis::{RedisClient, RedisConnection},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{backoff::Backoff, outage::Outage, revocations::PushHandler, session::Session};
use crate::{auth::revocation::Revocations, hub::Hub, metrics::Metrics};

/// The condition that holds from the first connection to Redis on.
pub const READINESS: &str = "redis";

/// Keeps the subscriptions that the hub wants.
#[derive(Debug)]
pub struct Subscriber {
    redis: RedisClient,
    hub: Hub,
    revocations: Revocations,
    readiness: Readiness,
    metrics: Metrics,
    connection: watch::Sender<Option<RedisConnection>>,
    traces: bool,
}

impl Subscriber {
    /// Will keep in `connection` what may be read from, while there is something.
    #[must_use]
    pub fn new(
        redis: RedisClient,
        hub: Hub,
        revocations: Revocations,
        readiness: Readiness,
        metrics: Metrics,
        connection: watch::Sender<Option<RedisConnection>>,
    ) -> Self {
        readiness.set(READINESS, false);
        Self { redis, hub, revocations, readiness, metrics, connection, traces: false }
    }

    /// Notes of each frame what its trace needs, if `traces` are made.
    #[must_use]
    pub fn with_traces(self, traces: bool) -> Self {
        Self { traces, ..self }
    }

    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep_connected() => {}
        }
    }

    async fn keep_connected(&self) {
        let mut backoff = Backoff::default();
        let mut outage = Outage::at_start();
        loop {
            match Session::open(&self.redis, self.handler()).await {
                Ok(session) => {
                    outage = self.serve(session, outage, &mut backoff).await;
                }
                Err(error) => {
                    self.metrics.redis_connect_failures.inc();
                    if is_refusal(&error) {
                        backoff.slow_down();
                    }
                    report(&error, &mut outage);
                }
            }
            backoff.wait().await;
        }
    }

    fn handler(&self) -> PushHandler {
        PushHandler {
            revocations: self.revocations.clone(),
            hub: self.hub.clone(),
            metrics: self.metrics.clone(),
            traces: self.traces,
        }
    }

    /// Lasts as long as the session; returns the outage that its end begins.
    async fn serve(&self, mut session: Session, outage: Outage, backoff: &mut Backoff) -> Outage {
        self.readiness.set(READINESS, true);
        self.metrics.redis_connected.set(1);
        self.connection.send_replace(Some(session.reader()));
        let (repair, reader) = (outage.redis_is_back(), session.reader());
        // Nobody is served before it is clear who no longer may be.
        let caught_up = async {
            session.learn_revocations().await?;
            session.catch_up().await
        };
        let lost = match caught_up.await {
            Ok(()) => {
                backoff.reset();
                repair.done(&self.metrics, &reader);
                session.run().await
            }
            Err(lost) => {
                if is_refusal(&lost) {
                    backoff.slow_down();
                    error!(error = %lost, "Redis refuses what the gateway needs, trying on");
                }
                lost
            }
        };
        self.connection.send_replace(None);
        self.metrics.redis_connected.set(0);
        self.metrics.subscriptions.set(0);
        self.metrics.redis_outages.inc();
        drop(session);
        let users = self.hub.mark_disconnected();
        warn!(error = %lost, users, "Redis lost, reconnecting");
        Outage::begins()
    }
}

/// Logs the first failure of an outage as a warning, and the first that needs a person as an
/// error.
fn report(error: &RedisError, outage: &mut Outage) {
    let is_refusal = is_refusal(error);
    if !outage.is_news(is_refusal) {
        debug!(%error, "Redis cannot be reached");
    } else if is_refusal {
        error!(%error, "Redis refuses what REDIS_URL says, trying on");
    } else {
        warn!(%error, "Redis cannot be reached, trying on");
    }
}

fn is_refusal(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed | ErrorKind::MasterNameNotFoundBySentinel
    ) || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}
