//! An upgraded socket, from the handshake to its close.

use std::{net::IpAddr, sync::Arc};

use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use uuid::Uuid;

use super::{
    connection_limits::ConnectionPermit,
    open::{OpenConnection, register},
    read_observer::ReadObserver,
    state::ServerState,
};
use crate::{
    auth::{AuthError, Identity},
    connection::{ClientOptions, Connection, FrameLimiter, Transport, close},
    hub::{ResumeFrom, client::Client, with_read_state},
    metrics::ClientTransport,
    protocol::CloseReason,
};

/// What the request of a handshake asks for.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The address of the client.
    pub(super) client: IpAddr,
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
    let Handshake { client, identity, resume_from, options } = handshake;
    let Some(socket) = upgraded::<S>(upgrade, &state).await else { return };
    let identity = match identity {
        Ok(identity) => identity,
        Err(error) => {
            let frame = CloseReason::unauthenticated(error.message());
            return close(socket, frame).await;
        }
    };
    let id = Uuid::new_v4();
    let transport = ClientTransport::WebSocket;
    let client = Client { address: client, transport };
    let mut registration = match register(&state, &identity, id, client).await {
        Ok(registration) => registration,
        Err(reason) => return close(socket, reason.frame()).await,
    };
    let mut replay = state.history.replay(&mut registration, resume_from);
    if options.control_frames {
        replay = with_read_state(replay, registration.read());
    }
    let settings = Arc::clone(&state.connection);
    let open = OpenConnection::new(id, identity.user.clone(), transport, Arc::clone(&settings));
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
    let Parts { io, read_buf, .. } = upgraded.downcast::<TokioIo<ReadObserver<S>>>().ok()?;
    // Copies the bytes that the client sent ahead: the buffer of the request would otherwise live
    // as long as the connection.
    let (stream, read) = (io.into_inner().into_inner(), read_buf.to_vec());
    let stream = FrameLimiter::new(stream, &read, Arc::clone(&state.connection));
    let config = Some(state.settings.socket);
    Some(WebSocketStream::from_partially_read(stream, read, Role::Server, config).await)
}

#[cfg(test)]
mod tests;
