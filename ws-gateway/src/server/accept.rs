//! Accepts TCP connections, with TLS if there is a certificate, and serves HTTP on each until it
//! is upgraded, evicted, too slow, or the gateway stops.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use hyper::{
    Request,
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::backoff;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use super::{
    activity::Activity, handshake, pending::Slot, read_observer::ReadObserver,
    settings::ServerSettings, state::ServerState,
};
use crate::{
    connection::{ConnectionSettings, SharedSocket, Transport},
    files::Current,
    hub::Hub,
    metrics::HandshakeResult,
    redis::History,
};

/// How long a client may take to read the rest of a response after the drain window: with the
/// time for the last frames, less than the gateway waits for connections.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The public server.
#[derive(Debug)]
pub(crate) struct Server {
    state: Arc<ServerState>,
    /// The certificate for clients; `None`: no TLS.
    certificate: Option<Current<ServerConfig>>,
}

impl Server {
    /// Returns a server that has not accepted anything yet. Requests and sockets are tracked in
    /// `tasks` and end within the drain window after `shutdown`.
    #[must_use]
    pub(crate) fn new(
        settings: ServerSettings,
        connection: ConnectionSettings,
        hub: Hub,
        history: History,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let state = ServerState::new(settings, connection, hub, history, tasks, shutdown);
        Self { state: Arc::new(state), certificate: None }
    }

    /// Serves TLS with this certificate.
    #[must_use]
    pub(crate) fn with_certificate(self, certificate: Option<Current<ServerConfig>>) -> Self {
        Self { certificate, ..self }
    }

    /// Accepts until shutdown. Requests and sockets may outlive this.
    pub(crate) async fn accept(&self, listener: TcpListener) {
        let mut backoff = backoff::ACCEPT;
        loop {
            let accepted = tokio::select! {
                () = self.state.shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    backoff.reset();
                    self.spawn(stream, peer.ip());
                }
                Err(error) => {
                    self.state.count(HandshakeResult::AcceptFailed);
                    // Frees a file descriptor.
                    if self.state.pending.evict_oldest() {
                        self.state.count(HandshakeResult::Evicted);
                    }
                    debug!(%error, "accepting a TCP connection failed, retrying");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: IpAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "connection closed before it was served");
            return;
        }
        let Some(certificate) = &self.certificate else {
            return self.serve(SharedSocket::new(stream), peer);
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&certificate.borrow()));
        self.state.tasks.spawn(self.pending(peer).serve_tls(stream, acceptor));
    }

    /// Serves HTTP on a stream in a task of its own.
    pub(crate) fn serve<S>(&self, stream: S, peer: IpAddr)
    where
        S: Transport,
    {
        self.state.tasks.spawn(self.pending(peer).serve(stream));
    }

    fn pending(&self, peer: IpAddr) -> Pending {
        let state = Arc::clone(&self.state);
        let slot = Some(state.acquire_slot());
        let deadline = Instant::now() + state.settings.handshake_timeout;
        Pending { state, peer, slot, deadline }
    }
}

/// A connection that is not a WebSocket yet.
struct Pending {
    state: Arc<ServerState>,
    peer: IpAddr,
    /// None while a response is in progress.
    slot: Option<Slot>,
    deadline: Instant,
}

impl Pending {
    /// Serves HTTP after a TLS handshake, which shares the deadline and the slot of the request.
    async fn serve_tls(mut self, stream: TcpStream, acceptor: TlsAcceptor) {
        let accepted = tokio::select! {
            accepted = timeout_at(self.deadline, acceptor.accept(stream)) => accepted,
            () = evicted(&mut self.slot) => return,
            () = self.state.shutdown.cancelled() => return,
        };
        match accepted {
            Ok(Ok(stream)) => self.serve(stream).await,
            // A port scanner, a client without this authority, or a client that is too slow.
            _ => self.state.count(HandshakeResult::TlsFailed),
        }
    }

    async fn serve<S: Transport>(mut self, stream: S) {
        let (state, peer) = (Arc::clone(&self.state), self.peer);
        let activity = Activity::default();
        let mut changes = activity.subscribe();
        let stream = ReadObserver::new(stream, activity.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (state, activity) = (Arc::clone(&state), activity.clone());
            activity.serve(!request.body().is_end_stream());
            async move {
                let request = request.map(drop);
                let response = handshake::respond::<S>(&state, request, peer, &activity);
                Ok::<_, Infallible>(response.await)
            }
        });
        let connection = http(&self.state.settings)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        let mut is_draining = false;
        loop {
            // A connection with a response in progress has no slot: its own limits hold.
            let is_pending = self.slot.is_some();
            tokio::select! {
                served = &mut connection => {
                    // hyper has answered with 431 or 414. Any other error is a client that has
                    // disconnected or does not send HTTP.
                    if served.is_err_and(|error| error.is_parse_too_large()) {
                        self.state.count(HandshakeResult::HeadTooLarge);
                    }
                    return;
                }
                () = sleep_until(self.deadline), if is_pending => return,
                () = evicted(&mut self.slot) => return,
                () = self.state.shutdown.cancelled(), if is_pending && !is_draining => return,
                () = self.state.shutdown.cancelled(), if !is_pending && !is_draining => {
                    // A response ends within the drain window, and the connection with it.
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                Ok(()) = changes.changed() => {
                    let is_active = *changes.borrow_and_update();
                    let timeout = self.state.settings.handshake_timeout;
                    let timeout = if is_draining { DRAIN_TIMEOUT.min(timeout) } else { timeout };
                    self.deadline = Instant::now() + timeout;
                    self.slot = (!is_active).then(|| self.state.acquire_slot());
                }
            }
        }
    }
}

/// Returns what serves HTTP, with the limits of a request.
fn http(settings: &ServerSettings) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.handshake_timeout)
        .max_header_size(settings.max_request_head.get())
        .max_buf_size(settings.max_request_head.get());
    http
}

/// Waits until the connection is evicted; without a slot it is not.
async fn evicted(slot: &mut Option<Slot>) {
    match slot {
        Some(slot) => slot.evicted().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
