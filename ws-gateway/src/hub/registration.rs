//! The registration of one connection in the hub.

use std::time::Duration;

use shared::user::UserId;
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use super::{
    Hub, LimitPolicy, LimitReached, Limits, State, client::Client, outbox::Outbox,
    read_requests::ReadRequest, user::User,
};
use crate::{
    auth::Credential,
    protocol::{CloseReason, Position, ReadSummary},
};

/// How long a connection waits for its subscription: longer than the outages of Redis that are
/// repaired in place. The client may reach Redis through another gateway.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the first frame of a connection waits for what the user has read.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

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
        let State { users, changed, generation, tokens, .. } = &mut *state;
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
    /// Takes the future that resolves when the user is subscribed and up to date. After
    /// [`CONFIRMATION_TIMEOUT`] the connection is closed instead.
    pub(crate) fn confirmed(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let confirmation = self.confirmation.take();
        let (hub, user, outbox) = (self.hub.clone(), self.user.clone(), self.outbox.clone());
        async move {
            let Some(confirmation) = confirmation else { return };
            if let Ok(Ok(())) = timeout(CONFIRMATION_TIMEOUT, confirmation).await {
                return;
            }
            hub.request_subscription(&user);
            outbox.close(CloseReason::SubscriptionTimeout);
            std::future::pending::<()>().await;
        }
    }

    /// Sets the token of the connection. Check whether it is revoked after this call: a
    /// revocation that arrives in between would be missed otherwise.
    pub(crate) fn set_credential(&self, credential: Credential) {
        self.hub.set_credential(&self.user, self.connection, credential);
    }

    /// Sets what operators see of the client.
    pub(crate) fn set_client(&self, client: Client) {
        self.hub.set_client(&self.user, self.connection, client);
    }

    /// Moves the read cursor of the user forward, and has the read state sent.
    pub(crate) fn request_read_state(&self, up_to: Option<Position>) {
        let request = ReadRequest { up_to, ..ReadRequest::default() };
        self.hub.read_requests().add(&self.user, request);
    }

    /// Returns what the user has read, if Redis answers in time.
    pub(crate) fn read(&self) -> impl Future<Output = Option<ReadSummary>> + Send + use<> {
        let (hub, user) = (self.hub.clone(), self.user.clone());
        async move {
            let (answer, read) = oneshot::channel();
            let answers = vec![answer];
            let request = ReadRequest { answers, is_silent: true, ..ReadRequest::default() };
            hub.read_requests().add(&user, request);
            let read = timeout(READ_TIMEOUT, read).await.ok()?.ok()?;
            ReadSummary::read(&read)
        }
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

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::time::Instant;

    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_subscription_is_never_confirmed_is_closed_and_planned_again() {
        let hub = Hub::new(Limits::SMALL, Metrics::new(&Registry::new()));
        let user = UserId::new("u").unwrap();
        let mut registration = hub.register(&user, Uuid::new_v4()).unwrap();
        assert_eq!(hub.take_changed().len(), 1);
        let (start, confirmed) = (Instant::now(), registration.confirmed());
        let reason = tokio::select! {
            () = confirmed => panic!("confirmed"),
            reason = registration.outbox().closed() => reason,
        };
        assert_eq!(
            (reason, start.elapsed()),
            (CloseReason::SubscriptionTimeout, CONFIRMATION_TIMEOUT)
        );
        assert_eq!(hub.take_changed(), [user]);
    }
}
