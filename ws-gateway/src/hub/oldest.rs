//! Finds the connections that were opened first.

use super::{Hub, outbox::Outbox};
use crate::{metrics::ClientTransport, protocol::CloseReason};

/// A connection that may be moved to another gateway.
#[derive(Debug)]
pub(crate) struct Movable(Outbox);

impl Movable {
    /// Closes the connection; the client is asked to reconnect.
    pub(crate) fn close_to_rebalance(&self) {
        self.0.close(CloseReason::Rebalanced);
    }
}

impl Hub {
    /// Returns `count` connections, those that were opened first. Long polls are not among them:
    /// they end by themselves.
    pub(crate) fn oldest(&self, count: usize) -> Vec<Movable> {
        let state = self.state();
        let movable = || {
            let all = state.users.values().flat_map(|entry| &entry.connections);
            all.filter(|connection| {
                connection.client.is_some_and(|c| c.transport != ClientTransport::LongPoll)
            })
        };
        let mut times: Vec<u32> = movable().map(|connection| connection.since).collect();
        if count == 0 || times.is_empty() {
            return Vec::new();
        }
        let last = count.min(times.len()) - 1;
        let (_, latest, _) = times.select_nth_unstable(last);
        let latest = *latest;
        let oldest = movable().filter(|connection| connection.since <= latest);
        oldest.take(count).map(|connection| Movable(connection.outbox.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use prometheus::Registry;
    use shared::user::UserId;
    use uuid::Uuid;

    use super::*;
    use crate::{
        hub::{Limits, client::Client, outbox::Item, outbox::Pushed},
        metrics::Metrics,
    };

    #[test]
    fn the_oldest_connections_are_closed_and_no_long_poll() {
        let hub = Hub::new(Limits::SMALL, Metrics::new(&Registry::new()));
        let connect = |(number, transport): (u32, ClientTransport)| {
            let user = UserId::new(&format!("user-{number}")).unwrap();
            let registration = hub.register(&user, Uuid::new_v4()).unwrap();
            registration.set_client(Client { address: Ipv4Addr::LOCALHOST.into(), transport });
            let mut state = hub.state();
            state.users.get_mut(&user).unwrap().connections[0].since = number;
            registration
        };
        let of = ClientTransport::WebSocket;
        let poll = ClientTransport::LongPoll;
        let registrations: Vec<_> =
            [(3, of), (1, poll), (2, of), (9, of), (4, of)].map(connect).into();
        assert!(hub.oldest(0).is_empty());
        assert_eq!(hub.oldest(9).len(), 4);
        hub.oldest(2).iter().for_each(Movable::close_to_rebalance);
        let is_open =
            |index: usize| registrations[index].outbox().push(Item::Gap) == Pushed::Queued;
        assert_eq!([0, 1, 2, 3, 4].map(is_open), [false, true, false, true, true]);
    }
}
