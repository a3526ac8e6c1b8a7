//! Wiring: constructs the parts of the gateway, starts them, and stops them in order.

pub(crate) mod check;
mod file_descriptors;
mod key_material;
mod service;
mod settings;

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use shared::{
    admin::AdminServer,
    admin::Readiness,
    audit,
    lifecycle::{self, RequiredTasks},
    redis::RedisClient,
    telemetry::LogFilter,
    trace::{self, Tracer},
};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{auth::KeySources, config::Config, metrics::Metrics};
use key_material::KeyMaterial;
pub use service::{Service, Subscriber};

/// Length of the accept queue, as far as the system allows (`somaxconn` on Linux). After an outage
/// all clients reconnect at once; a full queue would make them retry seconds later.
const BACKLOG: u32 = 65_535;

/// How long the last clients have for their closing handshake after the drain window.
const GRACE: Duration = Duration::from_secs(5);

/// The readiness condition that holds until shutdown.
const READINESS: &str = "running";

/// A gateway that is bound to its ports and does not serve yet.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    listener: TcpListener,
    admin: AdminServer,
    redis: RedisClient,
    readiness: Readiness,
    metrics: Metrics,
    key_material: KeyMaterial,
    keys: KeySources,
    tracer: Option<Tracer>,
}

impl Gateway {
    /// Opens key and certificate files, binds both ports and logs them. Redis is not connected
    /// yet.
    ///
    /// # Errors
    /// Names the setting and the file or address that cannot be used.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let limits = &config.limits;
        file_descriptors::raise_limit(limits.max_connections, limits.max_pending_connections);
        let registry = shared::metrics::registry().context("process metrics")?;
        let readiness = Readiness::default();
        let metrics = Metrics::new(&registry);
        let redis = RedisClient::new(&config.redis).context("REDIS_URL")?;
        let key_material = KeyMaterial::open(&config, &metrics)?;
        let keys = key_material.keys(&config)?;
        let tracer = Tracer::new(&config.trace, "ws-gateway")?;
        let address = SocketAddr::new(config.bind_address, config.websocket_port);
        let listener = listen(address)
            .with_context(|| format!("WEBSOCKET_PORT: cannot listen on {address}"))?;
        let admin = SocketAddr::new(config.bind_address, config.admin_port);
        let admin = AdminServer::bind(admin, readiness.clone(), registry).await?;
        let gateway =
            Self { config, listener, admin, redis, readiness, metrics, key_material, keys, tracer };
        let (address, admin_address) = (gateway.address()?, gateway.admin.local_addr()?);
        info!(%address, %admin_address, "gateway is listening");
        Ok(gateway)
    }

    /// Lets operators change the log level on the admin port.
    #[must_use]
    pub fn with_log_filter(self, log_filter: LogFilter) -> Self {
        Self { admin: self.admin.with_log_filter(log_filter), ..self }
    }

    /// Returns the address for clients.
    ///
    /// # Errors
    /// If the operating system does not return it.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("the listener has no address")
    }

    /// Serves until `shutdown`, then closes every connection within the drain window. Health
    /// endpoints and the Redis session stay until the last connection is closed.
    ///
    /// # Errors
    /// If a task has panicked, so that only a restart helps.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { config, listener, admin, redis, readiness, metrics, key_material, keys, tracer } =
            self;
        let name = name(listener.local_addr().ok());
        let (last, background) = (CancellationToken::new(), RequiredTasks::new(shutdown.clone()));
        let certificate = key_material.certificate();
        key_material.spawn(&keys, &background, readiness.clone(), &last);
        let checks = (readiness.clone(), metrics);
        let (Service { server, clients }, subscriber) =
            Service::new(&config, redis, keys, tracer.as_ref(), checks, shutdown.clone());
        let server = server.with_certificate(certificate);
        readiness.set(READINESS, true);
        background.spawn(admin.run(last.clone()));
        let subscriber = subscriber.with_name(name);
        background.spawn(subscriber.run(last.clone()));
        let unready = async {
            shutdown.cancelled().await;
            readiness.set(READINESS, false);
        };
        // The port is free once this is over.
        tokio::join!(server.accept(listener), unready);
        lifecycle::wait_for_tasks(&clients, config.drain_window + GRACE).await;
        last.cancel();
        let result = background.wait(GRACE).await;
        trace::shut_down(tracer, GRACE).await;
        info!("gateway stopped");
        result
    }
}

/// Returns the gateway's name for operators: the host, which in Kubernetes is the pod, and the
/// port for clients.
fn name(address: Option<SocketAddr>) -> String {
    let port = address.map_or(0, |address| address.port());
    format!("{}:{port}", audit::host_name())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Like `TcpListener::bind`: a restarted gateway can bind at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
