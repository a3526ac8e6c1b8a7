//! Wiring: puts the parts of the gateway together, starts them and ends them in order.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use shared::{
    admin::AdminServer,
    admin::Readiness,
    lifecycle,
    redis::RedisClient,
    trace::{self, Tracer},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    auth::{Authenticator, Key, jwks::JwksCache, revocation::Revocations},
    config::Config,
    connection::ConnectionSettings,
    files::WatchedFiles,
    hub::{self, Hub, outbox},
    metrics::Metrics,
    redis::{History, Subscriber},
    server::{self, Server},
};

/// Connections that may wait to be accepted, as far as the system lets them (`somaxconn` on
/// Linux): after an outage everybody knocks at once, and who is not let in to wait knocks again
/// only after seconds.
const BACKLOG: u32 = 65_535;

/// After the drain window, the time for the last clients to take their close frames.
const GRACE: Duration = Duration::from_secs(5);

/// The condition that holds until the gateway stops.
const READINESS: &str = "running";

/// A gateway that has its ports and does not answer yet.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    listener: TcpListener,
    admin: AdminServer,
    redis: RedisClient,
    readiness: Readiness,
    metrics: Metrics,
}

impl Gateway {
    /// Takes both ports, and says in the log which they are. Redis is not connected yet.
    ///
    /// # Errors
    /// Names the setting and the address that cannot be used.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let registry = shared::metrics::registry().context("process metrics")?;
        let readiness = Readiness::default();
        let metrics = Metrics::new(&registry);
        let redis = RedisClient::new(&config.redis).context("REDIS_URL")?;
        let address = SocketAddr::new(config.bind_address, config.websocket_port);
        let listener = listen(address)
            .with_context(|| format!("WEBSOCKET_PORT: cannot listen on {address}"))?;
        let admin = SocketAddr::new(config.bind_address, config.admin_port);
        let admin = AdminServer::bind(admin, readiness.clone(), registry).await?;
        let gateway = Self { config, listener, admin, redis, readiness, metrics };
        let (address, admin_address) = (gateway.address()?, gateway.admin.local_addr()?);
        info!(%address, %admin_address, "listening");
        Ok(gateway)
    }

    /// The address for clients.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("the listener has no address")
    }

    /// Serves until `shutdown`, then closes every socket within the drain window. Probes are
    /// answered, and Redis is listened to, until the last socket is closed.
    ///
    /// # Errors
    /// When the settings lack a key to check tokens with.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { config, listener, admin, redis, readiness, metrics } = self;
        let hub = Hub::new(limits(&config), metrics.clone());
        let (connection, connected) = watch::channel(None);
        let history = History::new(redis.keys.clone(), connected);
        let (last, background) = (CancellationToken::new(), TaskTracker::new());
        let published = published_keys(&config, &metrics)?;
        if let Some(published) = published.clone() {
            background.spawn(published.run(readiness.clone(), last.clone()));
        }
        let key_files = key_files(&config, &metrics)?;
        let revocations = Revocations::default();
        let mut settings = settings(&config, published, &revocations, &metrics)?;
        if let Some(files) = key_files {
            settings.authenticator = settings.authenticator.with_files(files.current());
            background.spawn(files.run(last.clone()));
        }
        let subscriber = Subscriber::new(
            redis,
            hub.clone(),
            revocations,
            readiness.clone(),
            metrics,
            connection,
        )
        .with_traces(settings.tracer.is_some());
        let tracer = settings.tracer.clone();
        readiness.set(READINESS, true);
        background.spawn(admin.run(last.clone()));
        background.spawn(subscriber.run(last.clone()));
        let clients = TaskTracker::new();
        let certificate = server::tls::files(&config.tls, &settings.metrics)?;
        let current = certificate.as_ref().map(WatchedFiles::current);
        if let Some(files) = certificate {
            background.spawn(files.run(last.clone()));
        }
        let (tasks, stop) = (clients.clone(), shutdown.clone());
        let server = Server::new(&config, hub, history, settings, current, tasks, stop);
        let unready = async {
            shutdown.cancelled().await;
            readiness.set(READINESS, false);
        };
        // The port is free once this is over.
        tokio::join!(server.accept(listener), unready);
        lifecycle::wait_for_tasks(&clients, config.drain_window + GRACE).await;
        last.cancel();
        lifecycle::wait_for_tasks(&background, GRACE).await;
        trace::shut_down(tracer, GRACE).await;
        Ok(())
    }
}

fn limits(config: &Config) -> hub::Limits {
    hub::Limits {
        per_user: config.limits.websocket_max_connections_per_user,
        policy: config.limits.connection_limit_policy,
        outbox: outbox::Limits {
            capacity: config.limits.outbox_capacity.get(),
            max_delay: config.limits.low_priority_max_delay,
        },
    }
}

fn published_keys(config: &Config, metrics: &Metrics) -> anyhow::Result<Option<JwksCache>> {
    let Some(url) = config.tokens.jwt_jwks_url.clone() else { return Ok(None) };
    JwksCache::new(url, config.tokens.rules(), metrics.jwks_fetches.clone())
        .context("JWT_JWKS_URL")
        .map(Some)
}

fn key_files(config: &Config, metrics: &Metrics) -> anyhow::Result<Option<WatchedFiles<Vec<Key>>>> {
    let paths = config.tokens.key_files();
    if paths.is_empty() {
        return Ok(None);
    }
    let make = config.tokens.file_keys(config.is_production());
    WatchedFiles::open("keys", paths, make, metrics.file_reloads.clone()).map(Some)
}

fn settings(
    config: &Config,
    published: Option<JwksCache>,
    revocations: &Revocations,
    metrics: &Metrics,
) -> anyhow::Result<ConnectionSettings> {
    let keys = config.tokens.keys().map_err(|bad| anyhow::anyhow!(bad.join(", ")))?;
    let authenticator = Authenticator::new(keys, published).with_revocations(revocations.clone());
    let ping_interval = config.websocket_ping_interval;
    Ok(ConnectionSettings {
        ping_interval,
        keepalive_timeout: config.websocket_idle_timeout.min(ping_interval.saturating_mul(2)),
        expiry_grace: config.tokens.jwt_expiry_grace,
        max_messages_per_second: config.limits.websocket_max_messages_per_second,
        drain_window: config.drain_window,
        authenticator,
        metrics: metrics.clone(),
        tracer: Tracer::new(&config.trace, "ws-gateway")?,
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` does, so that a gateway can start again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
