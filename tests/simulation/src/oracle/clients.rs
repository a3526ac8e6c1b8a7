//! Delivery guarantees of clients: nothing of another user, each frame once and in order, and
//! nothing missing unless a gap was reported.

use serde_json::Value;

use super::{
    Oracle,
    filter::Filter,
    state::{Client, Entry, State},
};
use crate::redis::store::Id;

impl Oracle {
    pub(crate) fn client(&self, client: usize, user: &str) {
        let new = Client { user: user.to_owned(), ..Client::default() };
        self.state().clients.insert(client, new);
    }

    pub(crate) fn connected(&self, client: usize) {
        if let Some(client) = self.state().clients.get_mut(&client) {
            client.newest = None;
            client.on_connection.clear();
        }
    }

    /// Notes that a client starts at a position: it has to receive every later notification. At
    /// `0-…` there is no stream: Redis has lost every notification so far.
    pub(crate) fn started_at(&self, client: usize, position: Id) {
        self.waive(client, |id| id <= position || position.0 == 0);
    }

    /// Notes that a client was notified of a gap, and has loaded everything through the API.
    pub(crate) fn gap_reported(&self, client: usize) {
        self.waive(client, |_| true);
    }

    fn waive(&self, client: usize, is_waived: impl Fn(Id) -> bool) {
        let State { clients, entries, .. } = &mut *self.state();
        let Some(client) = clients.get_mut(&client) else { return };
        client.expects_delivery = true;
        // The history may follow, with what was restored to it under other ids.
        client.on_connection.clear();
        let entries = entries.get(&client.user).into_iter().flatten();
        client.waived.extend(entries.map(|entry| entry.id).filter(|id| is_waived(*id)));
    }

    /// Notes that a client has set a filter, which its gateway applies later.
    pub(crate) fn filter_requested(&self, client: usize, filter: Filter) {
        if let Some(client) = self.state().clients.get_mut(&client) {
            client.required = client.required.and(filter);
            client.permitted = client.permitted.or(filter);
        }
        self.waive_filtered(client);
    }

    /// Notes that the gateway applies a filter to everything that follows.
    pub(crate) fn filter_applied(&self, client: usize, filter: Filter) {
        self.waive_filtered(client);
        if let Some(client) = self.state().clients.get_mut(&client) {
            (client.required, client.permitted) = (filter, filter);
        }
    }

    /// Waives the entries so far that some filter holds back.
    fn waive_filtered(&self, client: usize) {
        let State { clients, entries, .. } = &mut *self.state();
        let Some(client) = clients.get_mut(&client) else { return };
        let entries = entries.get(&client.user).into_iter().flatten();
        let filtered = entries.filter(|entry| !client.required.passes(&entry.category));
        client.waived.extend(filtered.map(|entry| entry.id));
    }

    /// Takes the position up to which a client has everything that passes its filter.
    pub(crate) fn position_reported(&self, client: usize, position: Id) {
        let mut state = self.state();
        let Some(receiver) = state.clients.remove(&client) else { return };
        if receiver.newest.is_some_and(|newest| position < newest) {
            self.recorder
                .violate(format!("client {client} is at {position} after {:?}", receiver.newest));
        }
        if let Some(missing) = state.missing(&receiver).find(|missing| *missing <= position) {
            self.recorder.violate(format!(
                "client {client} is at {position}, but has not received {missing}"
            ));
        }
        state.clients.insert(client, receiver);
    }

    /// Takes a notification that a client has received.
    pub(crate) fn received(&self, client: usize, id: Id, frame: &Value) {
        let mut state = self.state();
        let Some(mut receiver) = state.clients.remove(&client) else { return };
        let user = frame["user_id"].as_str();
        let category = frame["category"].as_str().unwrap_or_default();
        if !receiver.permitted.passes(category) {
            self.recorder
                .violate(format!("client {client} received {id}, which its filter excludes"));
        }
        if user != Some(&*receiver.user) {
            self.recorder
                .violate(format!("client {client} of {} received {id} of {user:?}", receiver.user));
        }
        if receiver.newest.is_some_and(|newest| newest >= id) {
            self.recorder
                .violate(format!("client {client} received {id} after {:?}", receiver.newest));
        }
        receiver.newest = Some(id);
        receiver.received.insert(id);
        let event = state.event_of(&receiver.user, id);
        receiver.events.extend(event);
        let event = event.filter(|event| !state.unclaimed.contains(event));
        if event.is_some_and(|event| !receiver.on_connection.insert(event)) {
            self.recorder
                .violate(format!("client {client} received {id} before, under another id"));
        }
        let missing = state.missing(&receiver).find(|missing| *missing < id);
        if let Some(missing) = missing {
            self.recorder
                .violate(format!("client {client} received {id}, but not {missing} before it"));
            receiver.waived.insert(missing);
        }
        state.clients.insert(client, receiver);
    }

    /// Returns the clients that lack a notification, and the first of these notifications.
    pub(crate) fn undelivered(&self) -> Vec<(usize, Id)> {
        let state = self.state();
        let undelivered =
            |(number, client): (&usize, &Client)| Some((*number, state.missing(client).next()?));
        state.clients.iter().filter_map(undelivered).collect()
    }
}

impl State {
    fn event_of(&self, user: &str, id: Id) -> Option<u128> {
        let entries = self.entries.get(user)?;
        entries.iter().rev().find(|entry| entry.id == id).map(|entry| entry.event)
    }

    /// Waives an entry of a history that is rebuilt for the clients that need not receive it: an
    /// earlier one of its event was waived, its record was a dead letter, or a failover had lost it
    /// before the history was lost.
    pub(super) fn restored_silently(&mut self, user: &str, entry: &Entry) -> Option<String> {
        let Self { clients, entries, events, forgotten, dead_letters, .. } = self;
        let earlier = entries.get(user).into_iter().flatten();
        let earlier = earlier.filter(|earlier| earlier.event == entry.event);
        let earlier: Vec<Id> = earlier.map(|earlier| earlier.id).collect();
        let is_forgotten = forgotten.contains(&entry.event);
        for client in clients.values_mut().filter(|client| client.user == user) {
            if earlier.is_empty()
                || is_forgotten
                || earlier.iter().any(|id| client.waived.contains(id))
            {
                client.waived.insert(entry.id);
            }
        }
        let event = events.get(&entry.event).filter(|_| earlier.is_empty())?;
        let is_dead_letter = event.copies.iter().any(|record| dead_letters.contains(record));
        let violation = || format!("{:?} was never published, and not sent", event.event);
        (!is_dead_letter).then(violation)
    }

    fn missing<'a>(&'a self, client: &'a Client) -> impl Iterator<Item = Id> + 'a {
        let entries = self.entries.get(&client.user).into_iter().flatten();
        let is_due = |entry: &&Entry| {
            // Received under an id that Redis has lost.
            let is_new = !client.events.contains(&entry.event);
            let passes = client.required.passes(&entry.category);
            client.expects_delivery && !entry.is_lost && is_new && passes
        };
        let is_missing = |id: &Id| !client.received.contains(id) && !client.waived.contains(id);
        entries.filter(is_due).map(|entry| entry.id).filter(is_missing)
    }
}
