//! The public port: accepts, answers health checks, checks handshakes, and hands each upgraded
//! socket to a task of its own. Every step has a time limit and a bound.

mod answers;
mod handshake;
mod rate;
mod socket;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    config::{Config, Origins},
    connection::{Terms, socket_config},
    history::History,
    hub::Hub,
};
use answers::About;
use rate::Rate;

/// Most connections that are not WebSockets (yet): enough for everybody coming back at once, at
/// some 20 KiB each. Beyond them, connections are dropped unheard.
const MAX_REQUESTS: usize = 4096;

/// The largest request head, in bytes; a token of 4 KiB fits in twice.
const MAX_HEAD: usize = 16 << 10;

/// The public server. Cheap to clone; clones are the same server.
#[derive(Clone, Debug)]
pub struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hub: Hub,
    history: History,
    terms: Arc<Terms>,
    about: About,
    origins: Option<Origins>,
    socket_config: WebSocketConfig,
    handshake_timeout: Duration,
    rate: Rate,
    requests: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
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
        terms: Terms,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            hub,
            history,
            terms: Arc::new(terms),
            about: About::new(config),
            origins: config.cors_origins.clone(),
            socket_config: socket_config(config.limits.websocket_max_message_size.get()),
            handshake_timeout: config.limits.handshake_timeout,
            rate: Rate::per_second(config.limits.max_handshakes_per_second),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            sockets: Arc::new(Semaphore::new(config.limits.max_connections.get())),
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
                Ok((stream, _)) => self.receive(stream),
                Err(error) => {
                    // Out of file descriptors, most likely; accepting again at once would spin.
                    self.count("accept_failed");
                    debug!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn receive(&self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.0.requests).try_acquire_owned() else {
            self.count("full");
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "the client is gone already");
            return;
        }
        let server = self.clone();
        self.0.tasks.spawn(server.answer(stream, permit));
    }

    /// Answers the requests of one connection, until it is upgraded or its time is over.
    async fn answer(self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let timeout = self.0.handshake_timeout;
        let shutdown = self.0.shutdown.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            // Nothing that is answered here has a body.
            let (server, request) = (self.clone(), request.map(drop));
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(timeout).max_buf_size(MAX_HEAD);
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::select! {
            // A client that hangs up or talks nonsense is no news.
            _ = tokio::time::timeout(timeout, connection) => {}
            () = shutdown.cancelled() => {}
        }
        drop(permit);
    }

    async fn respond(&self, request: Request<()>) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/ws" | "/ws/" => self.handshake(request).await,
            path => self.0.about.answer(request.method(), path, &self.0),
        }
    }

    fn count(&self, status: &str) {
        self.0.terms.metrics.connections.with_label_values(&[status]).inc();
    }
}

#[cfg(test)]
mod tests;
