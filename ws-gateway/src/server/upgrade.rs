//! An upgraded socket, from the handshake to its close.

use std::sync::Arc;

use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use shared::user::UserId;
use tokio::time::Instant;
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tracing::debug;
use uuid::Uuid;

use super::{connection_limits::ConnectionPermit, state::ServerState};
use crate::{
    auth::{AuthError, Identity},
    connection::{ClientOptions, Connection, ConnectionSettings, FrameLimiter, Transport, close},
    hub::ResumeFrom,
    metrics::HandshakeResult,
    protocol::{CloseReason, Disconnect},
};

/// What the request of a handshake asks for.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) identity: Result<Identity, AuthError>,
    pub(super) resume_from: ResumeFrom,
    pub(super) options: ClientOptions,
}

/// Runs a connection from the end of its handshake. `S` is the stream that the request came over.
pub(super) async fn run<S>(
    state: Arc<ServerState>,
    upgrade: OnUpgrade,
    handshake: Handshake,
    permit: ConnectionPermit,
) where
    S: Transport,
{
    let Handshake { identity, resume_from, options } = handshake;
    let Some(socket) = upgraded::<S>(upgrade, &state).await else { return };
    let identity = match identity {
        Ok(identity) => identity,
        Err(error) => return refuse_token(&state, socket, error).await,
    };
    let id = Uuid::new_v4();
    let Ok(mut registration) = state.hub.register_or_probe(&identity.user, id).await else {
        state.count(HandshakeResult::LimitReached);
        return close(socket, CloseReason::LimitReached.frame()).await;
    };
    registration.set_credential(identity.credential.clone());
    // A revocation since the token was checked did not find the registration.
    if state.connection.authenticator.is_revoked(&identity) {
        drop(registration);
        return refuse_token(&state, socket, AuthError::Revoked).await;
    }
    state.count(HandshakeResult::Accepted);
    let replay = state.history.replay(&mut registration, resume_from);
    let settings = Arc::clone(&state.connection);
    let open = OpenConnection::new(id, identity.user.clone(), Arc::clone(&settings));
    let connection = Connection::new(socket, registration, &identity, options, settings);
    let shutdown = state.shutdown.clone();
    // A fresh task: it lives as long as the connection and must not keep the memory that the
    // handshake needed.
    state.tasks.spawn(async move {
        let disconnect = connection.run(replay, shutdown).await;
        open.close(disconnect);
        drop(permit);
    });
}

async fn upgraded<S>(
    upgrade: OnUpgrade,
    state: &ServerState,
) -> Option<WebSocketStream<FrameLimiter<S>>>
where
    S: Transport,
{
    let upgraded = upgrade.await.ok()?;
    let Parts { io, read_buf, .. } = upgraded.downcast::<TokioIo<S>>().ok()?;
    // Copies the bytes that the client sent ahead: the buffer of the request would otherwise live
    // as long as the connection.
    let (stream, read) = (io.into_inner(), read_buf.to_vec());
    let stream = FrameLimiter::new(stream, &read, Arc::clone(&state.connection));
    let config = Some(state.settings.socket);
    Some(WebSocketStream::from_partially_read(stream, read, Role::Server, config).await)
}

async fn refuse_token<S>(state: &ServerState, socket: WebSocketStream<S>, error: AuthError)
where
    S: Transport,
{
    state.count(HandshakeResult::Unauthenticated);
    close(socket, CloseReason::unauthenticated(error.message())).await;
}

/// An open WebSocket in logs and metrics.
struct OpenConnection {
    id: Uuid,
    user: UserId,
    settings: Arc<ConnectionSettings>,
    opened_at: Instant,
}

impl OpenConnection {
    fn new(id: Uuid, user: UserId, settings: Arc<ConnectionSettings>) -> Self {
        settings.metrics.active_connections.inc();
        debug!(conn.id = %id, user.id = %user, "connection opened");
        Self { id, user, settings, opened_at: Instant::now() }
    }

    fn close(self, disconnect: Disconnect) {
        let reason = disconnect.label();
        debug!(conn.id = %self.id, user.id = %self.user, reason, "connection closed");
        self.settings.metrics.closes.of(disconnect).inc();
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let metrics = &self.settings.metrics;
        metrics.active_connections.dec();
        metrics.connection_duration.observe(self.opened_at.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests;
