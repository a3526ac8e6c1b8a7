//! Describes connections to operators, and closes those of a user on their request.

use jiff::Timestamp;
use shared::user::UserId;

use super::{Hub, client::Client, user::Connection};
use crate::protocol::{CloseReason, ConnectionInfo, Position};

impl Hub {
    /// Describes the connections of `user`, or of all users, up to `limit`. Takes as long as it
    /// describes connections, however many there are.
    pub(crate) fn describe(&self, user: Option<&UserId>, limit: usize) -> Vec<ConnectionInfo> {
        let state = self.state();
        let entries: Box<dyn Iterator<Item = _>> = match user {
            Some(user) => Box::new(state.users.get_key_value(user).into_iter()),
            None => Box::new(state.users.iter()),
        };
        let connections = entries.flat_map(|(user, entry)| {
            entry
                .connections
                .iter()
                .filter_map(|connection| connection.describe(user, entry.position))
        });
        connections.take(limit).collect()
    }

    /// Closes the connections of `user`; each client is asked to reconnect. Returns the closed
    /// ones.
    pub(crate) fn disconnect(&self, user: &UserId) -> Vec<ConnectionInfo> {
        let described = self.describe(Some(user), usize::MAX);
        self.each_outbox(user, |outbox| outbox.close(CloseReason::ClosedByOperator));
        described
    }

    /// Sets the client of a connection.
    pub(super) fn set_client(&self, user: &UserId, connection: uuid::Uuid, client: Client) {
        let mut state = self.state();
        let entry = state.users.get_mut(user);
        if let Some(known) = entry.and_then(|entry| entry.connection(connection)) {
            known.client = Some(client);
        }
    }
}

impl Connection {
    /// Returns none while the connection is not open yet, or is being closed.
    fn describe(&self, user: &UserId, position: Option<Position>) -> Option<ConnectionInfo> {
        let Client { address, transport } = self.client?;
        let status = self.outbox.status();
        if status.is_closed {
            return None;
        }
        let categories = status.filter.categories();
        let categories = categories.map(|names| names.iter().map(ToString::to_string).collect());
        Some(ConnectionInfo {
            id: self.id,
            user: user.to_string(),
            transport: transport.label().to_owned(),
            address: address.to_string(),
            since: timestamp(self.since).unwrap_or_default(),
            categories,
            queued: status.items,
            queued_bytes: status.bytes,
            position: position.map(|position| position.to_string()),
            last_activity: timestamp(status.last_activity),
        })
    }
}

/// Returns none for 0.
fn timestamp(unix_seconds: u32) -> Option<Timestamp> {
    Timestamp::from_second(unix_seconds.into()).ok().filter(|_| unix_seconds > 0)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use prometheus::Registry;
    use uuid::Uuid;

    use super::*;
    use crate::{
        hub::{
            Limits,
            outbox::{Item, Pushed},
            registration::Registration,
        },
        metrics::{ClientTransport, Metrics},
        protocol::{Filter, Frame},
    };

    fn connect(hub: &Hub, user: &str) -> Registration {
        let registration = hub.register(&UserId::new(user).unwrap(), Uuid::new_v4()).unwrap();
        registration.set_client(Client {
            address: Ipv4Addr::LOCALHOST.into(),
            transport: ClientTransport::WebSocket,
        });
        registration
    }

    #[tokio::test]
    async fn the_connections_of_a_user_are_described_with_filter_and_queue() {
        let hub = Hub::new(Limits::SMALL, Metrics::new(&Registry::new()));
        let (one, _other) = (connect(&hub, "u"), connect(&hub, "v"));
        one.outbox().note_filter(&Filter::new(["system_alerts"]));
        one.outbox().push(Item::Frame(Frame::published("{}".into())));
        let user = UserId::new("u").unwrap();
        let described = hub.describe(Some(&user), 9);
        let [only] = &described[..] else { panic!("{described:?}") };
        assert_eq!((only.id, &*only.user, &*only.address), (one.connection(), "u", "127.0.0.1"));
        assert_eq!((only.queued, only.queued_bytes), (1, 2));
        assert_eq!(only.categories.as_deref(), Some(&["system_alerts".to_owned()][..]));
        assert_eq!(only.last_activity, None);
        one.outbox().record_activity();
        assert!(hub.describe(Some(&user), 9)[0].last_activity.is_some());
        assert_eq!((hub.describe(None, 9).len(), hub.describe(None, 1).len()), (2, 1));
        let registered = hub.register(&user, Uuid::new_v4()).unwrap();
        assert_eq!(hub.describe(None, 9).len(), 2, "it has no client yet");
        drop(registered);
    }

    #[tokio::test]
    async fn only_the_connections_of_the_user_are_closed() {
        let hub = Hub::new(Limits::SMALL, Metrics::new(&Registry::new()));
        let (closed, other) = (connect(&hub, "u"), connect(&hub, "v"));
        let user = UserId::new("u").unwrap();
        assert_eq!(hub.disconnect(&user).len(), 1);
        assert_eq!(closed.outbox().push(Item::Gap), Pushed::Refused);
        assert_eq!(other.outbox().push(Item::Gap), Pushed::Queued);
        assert!(hub.describe(Some(&user), 9).is_empty(), "it is being closed");
    }
}
