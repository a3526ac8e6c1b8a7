//! The public port: accepts, answers health checks, checks handshakes, and hands each upgraded
//! socket to a task of its own. Every step has a time limit and a bound.

mod connection_limits;
mod handshake;
mod health_endpoints;
mod networks;
mod pending;
mod tls;
mod token_bucket;
mod upgrade;

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    auth::Origins,
    config::Config,
    connection::{ConnectionSettings, socket_config},
    files::Current,
    hub::Hub,
    metrics::HandshakeResult,
    redis::History,
};
use connection_limits::PerAddressLimit;
use health_endpoints::{HealthEndpoints, refusal};
pub use networks::Networks;
use pending::{PendingConnections, Slot};
pub use tls::TlsFiles;
use token_bucket::TokenBucket;

/// The public server. Cheap to clone; clones are the same server.
#[derive(Clone, Debug)]
pub struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hub: Hub,
    history: History,
    settings: Arc<ConnectionSettings>,
    health: HealthEndpoints,
    origins: Option<Origins>,
    socket_config: WebSocketConfig,
    handshake_timeout: Duration,
    max_head: usize,
    max_query: usize,
    handshakes: TokenBucket,
    pending: PendingConnections,
    per_address: PerAddressLimit,
    sockets: Arc<Semaphore>,
    /// Clients speak TLS, where there is a certificate.
    certificate: Option<Current<ServerConfig>>,
    /// All requests and sockets.
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    /// Takes what it works with; nothing is accepted yet. Requests and sockets are tracked in
    /// `tasks`, and end within the drain window after `shutdown`.
    #[must_use]
    pub fn new(
        config: &Config,
        hub: Hub,
        history: History,
        settings: ConnectionSettings,
        certificate: Option<Current<ServerConfig>>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let limits = &config.limits;
        Self(Arc::new(Shared {
            hub,
            history,
            settings: Arc::new(settings),
            health: HealthEndpoints::new(config),
            origins: config.cors_origins.clone(),
            socket_config: socket_config(limits.websocket_max_message_size.get()),
            handshake_timeout: limits.handshake_timeout,
            max_head: limits.max_request_head,
            max_query: limits.max_query_length,
            handshakes: TokenBucket::per_second(limits.max_handshakes_per_second),
            pending: PendingConnections::at_most(limits.max_pending_connections),
            per_address: PerAddressLimit::new(
                limits.max_connections_per_address,
                limits.trusted_proxies.clone().unwrap_or_default(),
            ),
            sockets: Arc::new(Semaphore::new(limits.max_connections.get())),
            certificate,
            tasks,
            shutdown,
        }))
    }

    /// Accepts until shutdown; requests and sockets may live on.
    pub async fn accept(&self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.0.shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.receive(stream, peer.ip()),
                Err(error) => {
                    // Out of file descriptors, most likely: a pending connection gives one back.
                    // Accepting again at once would spin.
                    self.count(HandshakeResult::AcceptFailed);
                    if self.0.pending.evict_oldest() {
                        self.count(HandshakeResult::Evicted);
                    }
                    debug!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn receive(&self, stream: TcpStream, peer: IpAddr) {
        let (slot, is_full) = self.0.pending.enter();
        if is_full {
            self.count(HandshakeResult::Evicted);
        }
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "the client is gone already");
            return;
        }
        let server = self.clone();
        let until = Instant::now() + self.0.handshake_timeout;
        let certificate = self.0.certificate.as_ref().map(|files| Arc::clone(&files.borrow()));
        match certificate {
            None => self.0.tasks.spawn(server.answer(stream, peer, slot, until)),
            Some(certificate) => {
                let acceptor = TlsAcceptor::from(certificate);
                self.0.tasks.spawn(server.answer_over_tls(stream, acceptor, peer, slot, until))
            }
        };
    }

    /// The handshake of TLS takes from the same time and the same places as the request.
    async fn answer_over_tls(
        self,
        stream: TcpStream,
        acceptor: TlsAcceptor,
        peer: IpAddr,
        mut slot: Slot,
        until: Instant,
    ) {
        let accepted = tokio::select! {
            accepted = timeout_at(until, acceptor.accept(stream)) => accepted,
            () = slot.evicted() => return,
            () = self.0.shutdown.cancelled() => return,
        };
        match accepted {
            Ok(Ok(stream)) => self.answer(stream, peer, slot, until).await,
            // A port scanner, a client that trusts somebody else, or one that is too slow.
            _ => self.count(HandshakeResult::TlsFailed),
        }
    }

    /// Answers the requests of one connection, until it is upgraded or its time is over.
    async fn answer<S>(self, stream: S, peer: IpAddr, mut slot: Slot, until: Instant)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (timeout, max_head) = (self.0.handshake_timeout, self.0.max_head);
        let shutdown = self.0.shutdown.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            // Nothing that is answered here has a body.
            let (server, request) = (self.clone(), request.map(drop));
            async move { Ok::<_, Infallible>(server.respond::<S>(request, peer).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(timeout).max_buf_size(max_head);
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::select! {
            // A client that hangs up or talks nonsense is no news.
            _ = timeout_at(until, connection) => {}
            () = slot.evicted() => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn respond<S>(&self, request: Request<()>, peer: IpAddr) -> Response<Full<Bytes>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if request.uri().query().is_some_and(|query| query.len() > self.0.max_query) {
            self.count(HandshakeResult::Malformed);
            return refusal(StatusCode::URI_TOO_LONG, "the query is too long");
        }
        match request.uri().path() {
            "/ws" | "/ws/" => self.handshake::<S>(request, peer).await,
            path => self.0.health.answer(request.method(), path, &self.0),
        }
    }

    fn count(&self, result: HandshakeResult) {
        self.0.settings.metrics.connections.of(result).inc();
    }
}

#[cfg(test)]
mod tests;
