//! Delivery guarantees of clients: nothing of another user, each frame once and in order, and
//! nothing missing unless a gap was reported.

use std::collections::BTreeSet;

use super::{Oracle, State};
use crate::{redis::store::Id, simulation::Simulation};

/// A client, across all of its connections.
#[derive(Default)]
pub(super) struct Client {
    user: String,
    received: BTreeSet<Id>,
    /// The newest id on the present connection.
    newest: Option<Id>,
    /// Whether notifications have to be delivered: from the first confirmed connection on.
    expects_delivery: bool,
    /// Entries that the client need not receive: it began after them, or a gap was reported.
    waived: BTreeSet<Id>,
}

impl Oracle {
    pub(crate) fn client(&self, client: usize, user: &str) {
        let new = Client { user: user.to_owned(), ..Client::default() };
        self.state().clients.insert(client, new);
    }

    pub(crate) fn connected(&self, client: usize) {
        if let Some(client) = self.state().clients.get_mut(&client) {
            client.newest = None;
        }
    }

    /// Notes that a client starts at a position: it has to receive every later notification.
    pub(crate) fn started_at(&self, client: usize, position: Id) {
        self.waive(client, |id| id <= position || position == Id(0, 0));
    }

    /// Notes that a client was notified of a gap, and has loaded everything through the API.
    pub(crate) fn gap_reported(&self, client: usize) {
        self.waive(client, |_| true);
    }

    fn waive(&self, client: usize, is_waived: impl Fn(Id) -> bool) {
        let State { clients, entries, .. } = &mut *self.state();
        let Some(client) = clients.get_mut(&client) else { return };
        client.expects_delivery = true;
        let entries = entries.get(&client.user).into_iter().flatten();
        client.waived.extend(entries.map(|entry| entry.id).filter(|id| is_waived(*id)));
    }

    /// Takes a notification that a client has received.
    pub(crate) fn received(&self, sim: &Simulation, client: usize, id: Id, user: Option<&str>) {
        let mut state = self.state();
        let Some(mut receiver) = state.clients.remove(&client) else { return };
        if user != Some(&receiver.user) {
            sim.violate(format!("client {client} of {} received {id} of {user:?}", receiver.user));
        }
        if receiver.newest.is_some_and(|newest| newest >= id) {
            sim.violate(format!("client {client} received {id} after {:?}", receiver.newest));
        }
        receiver.newest = Some(id);
        receiver.received.insert(id);
        let missing = state.missing(&receiver).find(|missing| *missing < id);
        if let Some(missing) = missing {
            sim.violate(format!("client {client} received {id}, but not {missing} before it"));
            receiver.waived.insert(missing);
        }
        state.clients.insert(client, receiver);
    }

    /// Returns the clients that lack a notification, and the first of these notifications.
    pub(crate) fn undelivered(&self) -> Vec<(usize, Id)> {
        let state = self.state();
        let expected =
            |(number, client): (&usize, &Client)| Some((*number, state.missing(client).next()?));
        state.clients.iter().filter_map(expected).collect()
    }
}

impl State {
    fn missing<'a>(&'a self, client: &'a Client) -> impl Iterator<Item = Id> + 'a {
        let entries = self.entries.get(&client.user).into_iter().flatten();
        let expected =
            entries.filter(|entry| client.expects_delivery && !entry.is_lost).map(|entry| entry.id);
        expected.filter(|id| !client.received.contains(id) && !client.waived.contains(id))
    }
}
