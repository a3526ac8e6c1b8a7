//! The registration of one connection in the hub.

use shared::user::UserId;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Hub, LimitPolicy, LimitReached, Limits, State, outbox::Outbox, user::User};
use crate::{
    auth::Credential,
    protocol::{CloseReason, Position},
};

/// A registered connection. Dropping it removes the connection from the hub.
#[derive(Debug)]
pub struct Registration {
    hub: Hub,
    user: UserId,
    connection: Uuid,
    outbox: Outbox,
    confirmation: Option<oneshot::Receiver<()>>,
}

impl Hub {
    /// Adds a connection of `user`. Frames are queued for it from now on;
    /// [`Registration::confirmed`] resolves when the user is subscribed.
    ///
    /// # Errors
    /// [`LimitReached`] when the user has too many connections and the policy is to reject.
    pub fn register(&self, user: &UserId, connection: Uuid) -> Result<Registration, LimitReached> {
        let Limits { per_user, policy, outbox } = self.0.limits;
        let outbox = Outbox::new(outbox);
        let mut state = self.state();
        let State { users, changed, generation, tokens } = &mut *state;
        let entry = users.entry(user.clone()).or_insert_with(|| {
            changed.insert(user.clone());
            *generation += 1;
            User::new(*generation)
        });
        if entry.connections.len() >= per_user.get() {
            match policy {
                LimitPolicy::Reject => return Err(LimitReached(per_user)),
                LimitPolicy::EvictOldest => {
                    let evicted = entry.connections.remove(0);
                    evicted.outbox.close(CloseReason::LimitReached);
                    tokens.remove(user, &evicted.credential, entry);
                }
            }
        }
        let confirmation = entry.join(connection, outbox.clone());
        self.count_users(&state);
        drop(state);
        self.0.change.notify_one();
        Ok(Registration { hub: self.clone(), user: user.clone(), connection, outbox, confirmation })
    }
}

impl Registration {
    /// Takes the future that resolves when the user is subscribed and up to date.
    pub(crate) fn confirmed(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let confirmation = self.confirmation.take();
        async move {
            let Some(confirmation) = confirmation else { return };
            if confirmation.await.is_err() {
                // The user's entry is dropped after its last registration, so this one is gone too.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Sets the token of the connection. Check whether it is revoked after this call: a
    /// revocation that arrives in between would be missed otherwise.
    pub(crate) fn set_credential(&self, credential: Credential) {
        self.hub.set_credential(&self.user, self.connection, credential);
    }

    /// Returns the user.
    #[must_use]
    pub(crate) fn user(&self) -> &UserId {
        &self.user
    }

    /// Returns the connection's id.
    #[must_use]
    pub(crate) fn connection(&self) -> Uuid {
        self.connection
    }

    /// Returns the queue of the connection.
    #[must_use]
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Returns the newest position that was delivered to the user; `0-0` if it is unknown.
    #[must_use]
    pub(crate) fn position(&self) -> Position {
        self.hub.position(&self.user).unwrap_or(Position::START)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.unregister(&self.user, self.connection);
    }
}
