//! An upgraded socket, from the handshake to its end.

use std::sync::Arc;

use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tracing::debug;
use uuid::Uuid;

use super::Server;
use crate::{
    auth::{AuthError, Identity},
    connection::{Connection, End, Opening, Wishes, close},
    history::{History, Missed},
    hub::Registration,
    metrics::Metrics,
    position::Position,
    protocol::{CloseReason, Resume},
};

/// What a handshake said.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) identity: Result<Identity, AuthError>,
    pub(super) from: From,
    pub(super) wishes: Wishes,
}

/// From where a client wants to go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// It has no position.
    Now,
    /// It has everything up to here.
    Position(Position),
    /// Its position cannot be read.
    Unknown,
}

impl Server {
    /// Lasts as long as the socket.
    pub(super) async fn serve(
        self,
        upgrade: OnUpgrade,
        visit: Visit,
        permit: OwnedSemaphorePermit,
    ) {
        if let Some(socket) = self.upgraded(upgrade).await {
            self.welcome(socket, visit).await;
        }
        drop(permit);
    }

    async fn upgraded(&self, upgrade: OnUpgrade) -> Option<WebSocketStream<TcpStream>> {
        let upgraded = upgrade.await.ok()?;
        let Parts { io, read_buf, .. } = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
        let (stream, config) = (io.into_inner(), Some(self.0.socket_config));
        Some(
            WebSocketStream::from_partially_read(stream, read_buf.into(), Role::Server, config)
                .await,
        )
    }

    async fn welcome(&self, socket: WebSocketStream<TcpStream>, visit: Visit) {
        let Visit { identity, from, wishes } = visit;
        let identity = match identity {
            Ok(identity) => identity,
            Err(error) => return self.refuse(socket, CloseReason::Unauthenticated(error)).await,
        };
        let id = Uuid::new_v4();
        let Ok(mut registration) = self.0.hub.register(&identity.user, id) else {
            return self.refuse(socket, CloseReason::LimitReached).await;
        };
        self.count("accepted");
        let user = identity.user.clone();
        debug!(conn.id = %id, user.id = %user, "connected");
        let open = Open::begins(&self.0.terms.metrics);
        let opening = Box::pin(opening(&mut registration, self.0.history.clone(), from));
        let terms = Arc::clone(&self.0.terms);
        let connection = Connection::new(socket, registration, &identity, wishes, terms);
        let end = connection.run(opening, self.0.shutdown.clone()).await;
        open.ends(end);
        debug!(conn.id = %id, user.id = %user, reason = end.label(), "disconnected");
    }

    async fn refuse(&self, socket: WebSocketStream<TcpStream>, reason: CloseReason) {
        self.count(reason.label());
        close(socket, reason, None).await;
    }
}

/// Waits until the subscription stands, then reads what the client missed: whatever is published
/// meanwhile waits in the queue of the connection.
fn opening(
    registration: &mut Registration,
    history: History,
    from: From,
) -> impl Future<Output = Opening> + Send + use<> {
    let confirmed = registration.confirmed();
    let user = registration.user().clone();
    async move {
        confirmed.await;
        match from {
            From::Now => Opening { resume: Resume::None, missed: Vec::new() },
            From::Unknown => Opening { resume: Resume::Incomplete, missed: Vec::new() },
            From::Position(position) => {
                let Missed { complete, frames } = history.since(&user, position).await;
                let resume = if complete { Resume::Complete } else { Resume::Incomplete };
                Opening { resume, missed: frames }
            }
        }
    }
}

/// A socket that is open: counted as long as this lives.
struct Open {
    metrics: Metrics,
    since: Instant,
}

impl Open {
    fn begins(metrics: &Metrics) -> Self {
        metrics.active_connections.inc();
        Self { metrics: metrics.clone(), since: Instant::now() }
    }

    fn ends(self, end: End) {
        self.metrics.closes.with_label_values(&[end.label()]).inc();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.active_connections.dec();
        self.metrics.connection_duration.observe(self.since.elapsed().as_secs_f64());
    }
}
