//! An upgraded socket, from the handshake to its end.

use std::sync::Arc;

use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use shared::user::UserId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tracing::debug;
use uuid::Uuid;

use super::{Server, connection_limits::AddressPermit};
use crate::{
    auth::{AuthError, Identity},
    connection::{ClientOptions, Connection, ConnectionSettings, InitialState, close},
    hub::Registration,
    metrics::HandshakeResult,
    protocol::{CloseReason, Disconnect, Position, Resume},
    redis::{History, Missed},
};

/// What a handshake said.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) identity: Result<Identity, AuthError>,
    pub(super) from: From,
    pub(super) options: ClientOptions,
}

/// What a WebSocket takes of what there is, until it ends.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _address: AddressPermit,
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
    /// Brings a socket from the handshake to the task of its connection, or to its end. `S` is what
    /// the request came over.
    pub(super) async fn serve<S>(
        self,
        upgrade: OnUpgrade,
        handshake: Handshake,
        permit: ConnectionPermit,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Some(socket) = self.upgraded::<S>(upgrade).await {
            self.welcome(socket, handshake, permit).await;
        }
    }

    async fn upgraded<S>(&self, upgrade: OnUpgrade) -> Option<WebSocketStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let upgraded = upgrade.await.ok()?;
        let Parts { io, read_buf, .. } = upgraded.downcast::<TokioIo<S>>().ok()?;
        // A copy of the few bytes, or none: otherwise the buffer of the request would live on.
        let (stream, read) = (io.into_inner(), read_buf.to_vec());
        let config = Some(self.0.socket_config);
        Some(WebSocketStream::from_partially_read(stream, read, Role::Server, config).await)
    }

    async fn welcome<S>(
        &self,
        socket: WebSocketStream<S>,
        handshake: Handshake,
        permit: ConnectionPermit,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Handshake { identity, from, options } = handshake;
        let identity = match identity {
            Ok(identity) => identity,
            Err(error) => return self.refuse_token(socket, error).await,
        };
        let id = Uuid::new_v4();
        let Ok(mut registration) = self.0.hub.register(&identity.user, id) else {
            self.count(HandshakeResult::LimitReached);
            return close(socket, CloseReason::LimitReached, None).await;
        };
        registration.set_credential(identity.credential.clone());
        if self.0.settings.authenticator.is_revoked(&identity) {
            drop(registration);
            return self.refuse_token(socket, AuthError::Revoked).await;
        }
        self.count(HandshakeResult::Accepted);
        let initial_state =
            Box::pin(initial_state(&mut registration, self.0.history.clone(), from));
        let settings = Arc::clone(&self.0.settings);
        let connection = Connection::new(socket, registration, &identity, options, settings);
        let open = Open::begins(id, identity.user, Arc::clone(&self.0.settings));
        let shutdown = self.0.shutdown.clone();
        // A fresh task: it lives long, so it must not carry along what the handshake needed.
        self.0.tasks.spawn(async move {
            let end = connection.run(initial_state, shutdown).await;
            open.ends(end);
            drop(permit);
        });
    }

    async fn refuse_token<S>(&self, socket: WebSocketStream<S>, error: AuthError)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.count(HandshakeResult::Unauthenticated);
        close(socket, CloseReason::Unauthenticated(error.message()), None).await;
    }
}

/// Waits until the subscription stands, then reads what the client missed: whatever is published
/// meanwhile waits in the queue of the connection, and is read as well when it is too much.
fn initial_state(
    registration: &mut Registration,
    history: History,
    from: From,
) -> impl Future<Output = InitialState> + Send + use<> {
    let confirmed = registration.confirmed();
    let (user, outbox) = (registration.user().clone(), registration.outbox().clone());
    if let From::Position(_) = from {
        outbox.begin_replay();
    }
    async move {
        confirmed.await;
        match from {
            From::Now => InitialState::without_replay(Resume::None),
            From::Unknown => InitialState::without_replay(Resume::Incomplete),
            From::Position(position) => {
                let missed = history.since(&user, position, || outbox.end_replay()).await;
                let Missed { complete, newest, frames } = missed;
                let resume = if complete { Resume::Complete } else { Resume::Incomplete };
                InitialState { resume, missed: frames, resumed_to: newest }
            }
        }
    }
}

/// A socket that is open: counted as long as this lives.
struct Open {
    id: Uuid,
    user: UserId,
    settings: Arc<ConnectionSettings>,
    since: Instant,
}

impl Open {
    fn begins(id: Uuid, user: UserId, settings: Arc<ConnectionSettings>) -> Self {
        settings.metrics.active_connections.inc();
        debug!(conn.id = %id, user.id = %user, "connected");
        Self { id, user, settings, since: Instant::now() }
    }

    fn ends(self, end: Disconnect) {
        let reason = end.label();
        debug!(conn.id = %self.id, user.id = %self.user, reason, "disconnected");
        self.settings.metrics.closes.of(end).inc();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let metrics = &self.settings.metrics;
        metrics.active_connections.dec();
        metrics.connection_duration.observe(self.since.elapsed().as_secs_f64());
    }
}
