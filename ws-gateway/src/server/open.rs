//! An open connection of any transport: registered in the hub, in logs and metrics.

use std::sync::Arc;

use shared::user::UserId;
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::state::ServerState;
use crate::{
    auth::Identity,
    connection::ConnectionSettings,
    hub::{client::Client, registration::Registration},
    metrics::{ClientTransport, HandshakeResult},
    protocol::{CloseReason, Disconnect},
};

/// Registers a connection, which receives frames from now on.
///
/// # Errors
/// Returns why the connection has to be closed.
pub(super) async fn register(
    state: &ServerState,
    identity: &Identity,
    id: Uuid,
    client: Client,
) -> Result<Registration, CloseReason> {
    let Ok(registration) = state.hub.register_or_probe(&identity.user, id).await else {
        state.count(HandshakeResult::LimitReached);
        return Err(CloseReason::LimitReached);
    };
    registration.set_credential(identity.credential.clone());
    registration.set_client(client);
    // A revocation since the token was checked did not find the registration.
    if state.connection.authenticator.is_revoked(identity) {
        state.count(HandshakeResult::Unauthenticated);
        return Err(CloseReason::Revoked);
    }
    state.count(HandshakeResult::Accepted);
    Ok(registration)
}

/// A connection in logs and metrics.
pub(super) struct OpenConnection {
    id: Uuid,
    user: UserId,
    transport: ClientTransport,
    settings: Arc<ConnectionSettings>,
    opened_at: Instant,
    /// That of a connection whose task is dropped, as when a client cancels its request.
    end: Disconnect,
}

impl OpenConnection {
    pub(super) fn new(
        id: Uuid,
        user: UserId,
        transport: ClientTransport,
        settings: Arc<ConnectionSettings>,
    ) -> Self {
        let metrics = &settings.metrics;
        metrics.active_connections.inc();
        metrics.connections_by_transport.of(transport).inc();
        metrics.opened_by_transport.of(transport).inc();
        debug!(conn.id = %id, user.id = %user, "connection opened");
        let (opened_at, end) = (Instant::now(), Disconnect::ByClient);
        Self { id, user, transport, settings, opened_at, end }
    }

    /// Records how the connection ended.
    pub(super) fn close(mut self, end: Disconnect) {
        self.end = end;
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let reason = self.end.label();
        debug!(conn.id = %self.id, user.id = %self.user, reason, "connection closed");
        let metrics = &self.settings.metrics;
        metrics.closes.of(self.end).inc();
        metrics.active_connections.dec();
        metrics.connections_by_transport.of(self.transport).dec();
        metrics.connection_duration.observe(self.opened_at.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::handshake::tests::{settings, state_with},
        *,
    };
    use crate::auth::{
        Credential,
        revocation::{Revocation, Revocations, Revoked},
    };

    #[tokio::test]
    async fn a_token_that_is_revoked_between_its_check_and_the_registration_is_refused() {
        let revocations = Revocations::default();
        let state = state_with(settings(), revocations.clone());
        let user = UserId::new("u").unwrap();
        let credential = Credential::default();
        let identity = Identity { user: user.clone(), expires_at: u64::MAX, credential };
        let client = Client {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            transport: ClientTransport::WebSocket,
        };
        register(&state, &identity, Uuid::nil(), client).await.unwrap();
        revocations.add(Revocation {
            target: Revoked::User(user, u64::MAX),
            until: u64::MAX,
            by: None,
        });
        let refused = register(&state, &identity, Uuid::nil(), client).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused, CloseReason::Revoked);
    }
}
