//! Unregisters half-open connections at the connection limit: a client that lost its network
//! reconnects before its old connections time out, and must not be refused because of them. Nor
//! because of event streams that a proxy still reads although their client has left: no client of
//! a stream can answer a ping, so that the oldest stream makes room for a new connection.

use std::time::Duration;

use shared::user::UserId;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Hub, LimitReached, State, outbox::Outbox, registration::Registration, user::Connection,
};
use crate::{metrics::ClientTransport, protocol::CloseReason};

/// How long a connection may take to answer a ping before a new connection replaces it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The interval at which the replies are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

impl Hub {
    /// As [`Hub::register`], but when the limit is reached, pings the user's connections and closes
    /// those that do not answer in time, or the oldest event stream.
    ///
    /// # Errors
    /// [`LimitReached`] when too many connections of the user answer, and none is an event stream.
    pub(crate) async fn register_or_probe(
        &self,
        user: &UserId,
        connection: Uuid,
    ) -> Result<Registration, LimitReached> {
        let limit_reached = match self.register(user, connection) {
            Ok(registration) => return Ok(registration),
            Err(limit_reached) => limit_reached,
        };
        self.each_outbox(user, Outbox::probe);
        let deadline = Instant::now() + PROBE_TIMEOUT;
        loop {
            sleep(CHECK_INTERVAL).await;
            let is_over = Instant::now() >= deadline;
            if is_over {
                self.close_silent(user);
            }
            if let Ok(registration) = self.register(user, connection) {
                return Ok(registration);
            }
            let mut is_probed = false;
            self.each_outbox(user, |outbox| is_probed |= outbox.is_probed());
            if is_over || !is_probed {
                self.close_oldest_stream(user);
                return self.register(user, connection).map_err(|_| limit_reached);
            }
        }
    }

    /// Closes the connections of `user` that were pinged and have not answered, and unregisters
    /// them at once.
    fn close_silent(&self, user: &UserId) {
        let mut state = self.state();
        let State { users, tokens, .. } = &mut *state;
        let Some(entry) = users.get_mut(user) else { return };
        let is_silent = |connection: &mut Connection| connection.outbox.is_silent();
        let silent: Vec<Connection> = entry.connections.extract_if(.., is_silent).collect();
        for connection in silent {
            connection.outbox.close(CloseReason::KeepaliveTimeout);
            tokens.remove(user, &connection.credential, entry);
        }
    }

    /// Closes the oldest event stream of `user`, if there is one, and unregisters it at once.
    fn close_oldest_stream(&self, user: &UserId) {
        let mut state = self.state();
        let State { users, tokens, .. } = &mut *state;
        let Some(entry) = users.get_mut(user) else { return };
        let is_stream = |connection: &Connection| {
            let client = connection.client.as_ref();
            client.is_some_and(|client| client.transport == ClientTransport::EventStream)
        };
        let Some(index) = entry.connections.iter().position(is_stream) else { return };
        let stream = entry.connections.remove(index);
        stream.outbox.close(CloseReason::LimitReached);
        tokens.remove(user, &stream.credential, entry);
    }

    pub(super) fn each_outbox(&self, user: &UserId, act: impl FnMut(&Outbox)) {
        let state = self.state();
        let connections = state.users.get(user).into_iter().flat_map(|entry| &entry.connections);
        connections.map(|connection| &connection.outbox).for_each(act);
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::{
        hub::{Limits, client::Client, outbox::Due},
        metrics::Metrics,
    };

    fn hub() -> Hub {
        Hub::new(Limits::SMALL, Metrics::new(&Registry::new()))
    }

    /// A connection that answers a ping after `delay`; never without one.
    async fn run(registration: Registration, delay: Option<Duration>) -> CloseReason {
        loop {
            match registration.outbox().due(None, false).await {
                Due::Closed(reason) => return reason,
                Due::Probe => {
                    if let Some(delay) = delay {
                        sleep(delay).await;
                        registration.outbox().record_activity();
                    }
                }
                Due::Now | Due::At(_) => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_answer_a_ping_is_replaced() {
        let (hub, user) = (hub(), UserId::new("u").unwrap());
        let [silent, live] = [None, Some(Duration::from_millis(200))]
            .map(|delay| tokio::spawn(run(hub.register(&user, Uuid::new_v4()).unwrap(), delay)));
        let begun = Instant::now();
        let registration = hub.register_or_probe(&user, Uuid::new_v4()).await.unwrap();
        assert!(begun.elapsed() <= PROBE_TIMEOUT + CHECK_INTERVAL);
        assert_eq!(silent.await.unwrap(), CloseReason::KeepaliveTimeout);
        assert!(!live.is_finished());
        drop(registration);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_event_stream_makes_room_for_a_new_connection() {
        let (hub, user) = (hub(), UserId::new("u").unwrap());
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let [stream, socket] =
            [ClientTransport::EventStream, ClientTransport::WebSocket].map(|transport| {
                let registration = hub.register(&user, Uuid::new_v4()).unwrap();
                registration.set_client(Client { address, transport });
                tokio::spawn(run(registration, Some(Duration::ZERO)))
            });
        let registration = hub.register_or_probe(&user, Uuid::new_v4()).await.unwrap();
        assert_eq!(stream.await.unwrap(), CloseReason::LimitReached);
        assert!(!socket.is_finished());
        tokio::spawn(run(registration, Some(Duration::ZERO)));
        assert!(hub.register_or_probe(&user, Uuid::new_v4()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_above_the_limit_is_refused_as_soon_as_all_others_have_answered() {
        let (hub, user) = (hub(), UserId::new("u").unwrap());
        for _ in 0..2 {
            let registration = hub.register(&user, Uuid::new_v4()).unwrap();
            tokio::spawn(run(registration, Some(Duration::from_millis(200))));
        }
        let begun = Instant::now();
        let refused = hub.register_or_probe(&user, Uuid::new_v4()).await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            "connection limit per user reached (limit: 2)"
        );
        assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    }
}
