//! The place of one connection in the hub.

use shared::user::UserId;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Hub, outbox::Outbox};
use crate::{auth::Credential, protocol::Position};

/// A connection that the hub knows. Dropping it is the only way out.
#[derive(Debug)]
pub struct Registration {
    hub: Hub,
    user: UserId,
    connection: Uuid,
    outbox: Outbox,
    confirmation: Option<oneshot::Receiver<()>>,
}

impl Registration {
    pub(super) fn new(
        hub: Hub,
        user: UserId,
        connection: Uuid,
        outbox: Outbox,
        confirmation: Option<oneshot::Receiver<()>>,
    ) -> Self {
        Self { hub, user, connection, outbox, confirmation }
    }

    /// Takes what resolves once the user's subscription stands and no gap is open.
    pub fn confirmed(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let confirmation = self.confirmation.take();
        async move {
            let Some(confirmation) = confirmation else { return };
            if confirmation.await.is_err() {
                // The user's entry is gone, and with it this registration.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Notes the token that the connection lives by. Whether it is revoked must be looked up
    /// after that, or a revocation in between would be missed.
    pub fn set_credential(&self, credential: Credential) {
        self.hub.set_credential(&self.user, self.connection, credential);
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The connection's id.
    #[must_use]
    pub fn connection(&self) -> Uuid {
        self.connection
    }

    /// The queue of the connection.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The newest position that was handed on to the user.
    #[must_use]
    pub fn position(&self) -> Position {
        self.hub.position(&self.user).unwrap_or(Position::START)
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.unregister(&self.user, self.connection);
    }
}
