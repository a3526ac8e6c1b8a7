//! The way of notifications from Redis to streams of clients: everything of a gateway but its
//! ports and files. Public for `tests/simulation`, which runs it over a simulated network.

use std::net::IpAddr;

use shared::{admin::Readiness, redis::RedisClient, trace::Tracer};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::settings;
pub use crate::redis::Subscriber;
use crate::{
    auth::{Authenticator, KeySources, revocation::Revocations},
    config::Config,
    connection::Transport,
    hub::Hub,
    metrics::Metrics,
    redis::History,
    server::Server,
};

/// Serves clients with what [`Subscriber::run`] receives, which runs concurrently.
#[derive(Debug)]
pub struct Service {
    pub(super) server: Server,
    /// Tracks requests and sockets.
    pub(super) clients: TaskTracker,
}

impl Service {
    /// Returns a service and its subscriber. Requests and sockets end within the drain window
    /// after `shutdown`.
    #[must_use]
    pub fn new(
        config: &Config,
        redis: RedisClient,
        keys: KeySources,
        tracer: Option<&Tracer>,
        (readiness, metrics): (Readiness, Metrics),
        shutdown: CancellationToken,
    ) -> (Self, Subscriber) {
        let hub = Hub::new(settings::hub(config), metrics.clone());
        let (reader, current) = watch::channel(None);
        let page_bytes = config.limits.resume_page_bytes.get();
        let history = History::new(current, page_bytes, metrics.clone());
        let revocations = Revocations::default();
        let authenticator = Authenticator::new(keys, revocations.clone());
        let connections =
            settings::connection(config, authenticator, tracer.cloned(), metrics.clone());
        let subscriber =
            Subscriber::new(redis, hub.clone(), revocations, readiness, metrics, reader)
                .with_traces(tracer.is_some())
                .with_rebalancing(settings::rebalancing(config), shutdown.clone());
        let (clients, settings) = (TaskTracker::new(), settings::server(config));
        let server = Server::new(settings, connections, hub, history, clients.clone(), shutdown);
        (Self { server, clients }, subscriber)
    }

    /// Serves the stream of a client in a task of its own.
    pub fn serve<S>(&self, stream: S, peer: IpAddr)
    where
        S: Transport,
    {
        self.server.serve(stream, peer);
    }
}
