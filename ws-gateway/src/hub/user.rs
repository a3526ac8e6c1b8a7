//! One user: the connections, the position, and what is held while a gap is open.

use tokio::sync::oneshot;
use uuid::Uuid;

use super::outbox::{Item, Outbox};
use crate::{
    auth::Credential,
    metrics::{Delivery, Failure, Metrics},
    protocol::{Frame, Position},
};

/// Most frames held for a user while a gap is closed. What comes after them is read from the
/// stream too; only frames without a position are lost.
const MAX_HELD: usize = 256;

/// Whether a user's subscription is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// It is.
    Live,
    /// More came than could be held: read the stream on from here, then try again.
    ReadFrom(Position),
}

#[derive(Debug)]
pub(super) struct Connection {
    id: Uuid,
    pub(super) outbox: Outbox,
    /// Whether it came while the subscription did not stand; it has been promised nothing yet.
    waits: bool,
    /// What it was opened or renewed with.
    pub(super) credential: Credential,
}

#[derive(Debug)]
pub(super) struct User {
    /// The newest position that was handed on; none before the first subscription stands.
    pub(super) position: Option<Position>,
    /// Oldest first.
    pub(super) connections: Vec<Connection>,
    /// Until the subscription stands and nothing is missing.
    open: Option<Box<Open>>,
}

/// What waits for a subscription to stand.
#[derive(Debug, Default)]
struct Open {
    held: Vec<Frame>,
    overflowed: bool,
    /// The stream ended before the position: nothing held can be a duplicate.
    restarted: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Default for User {
    fn default() -> Self {
        Self { position: None, connections: Vec::new(), open: Some(Box::default()) }
    }
}

impl User {
    pub(super) fn is_confirmed(&self) -> bool {
        self.open.is_none()
    }

    /// Adds a connection; returns what tells it that the subscription stands, if it does not yet.
    pub(super) fn join(&mut self, id: Uuid, outbox: Outbox) -> Option<oneshot::Receiver<()>> {
        let (waits, credential) = (self.open.is_some(), Credential::default());
        self.connections.push(Connection { id, outbox, waits, credential });
        let open = self.open.as_mut()?;
        let (sender, receiver) = oneshot::channel();
        open.waiting.push(sender);
        Some(receiver)
    }

    /// Notes the token of a connection.
    pub(super) fn set_credential(&mut self, id: Uuid, credential: Credential) {
        if let Some(connection) = self.connections.iter_mut().find(|known| known.id == id) {
            connection.credential = credential;
        }
    }

    /// Removes a connection; returns whether it was the last.
    pub(super) fn leave(&mut self, id: Uuid) -> bool {
        self.connections.retain(|connection| connection.id != id);
        self.connections.is_empty()
    }

    /// Holds what comes until the next [`User::mark_subscribed`].
    pub(super) fn hold(&mut self) {
        self.open.get_or_insert_default();
    }

    pub(super) fn deliver(&mut self, frame: Frame, metrics: &Metrics) -> Delivery {
        let Some(open) = &mut self.open else { return self.forward(&frame, metrics) };
        if open.held.len() < MAX_HELD {
            open.held.push(frame);
        } else if frame.position.is_some() {
            open.overflowed = true;
        } else {
            metrics.messages_failed.of(Failure::DroppedInGap).inc();
        }
        Delivery::Held
    }

    /// Hands a frame to every connection, unless the user has it already.
    pub(super) fn forward(&mut self, frame: &Frame, metrics: &Metrics) -> Delivery {
        if let Some(position) = frame.position {
            if self.position.is_some_and(|newest| position <= newest) {
                return Delivery::Duplicate;
            }
            self.position = Some(position);
        }
        for connection in &self.connections {
            if !connection.outbox.push(Item::Frame(frame.clone())) {
                metrics.messages_failed.of(Failure::TooSlow).inc();
            }
        }
        Delivery::Delivered
    }

    pub(super) fn report_gap(&mut self, newest: Option<Position>) {
        for connection in self.connections.iter().filter(|connection| !connection.waits) {
            // A full queue ends the connection, which tells the client even more.
            connection.outbox.push(Item::Gap);
        }
        if let Some(newest) = newest {
            self.position = Some(newest);
            self.open.get_or_insert_default().restarted = true;
        }
    }

    pub(super) fn mark_subscribed(&mut self, metrics: &Metrics) -> Subscribed {
        let Some(mut open) = self.open.take() else { return Subscribed::Live };
        let newest = self.position;
        if std::mem::take(&mut open.restarted) {
            self.position = None;
        }
        for frame in std::mem::take(&mut open.held) {
            self.forward(&frame, metrics);
        }
        self.position = self.position.max(newest);
        if std::mem::take(&mut open.overflowed) {
            self.open = Some(open);
            return Subscribed::ReadFrom(self.position.unwrap_or(Position::START));
        }
        for connection in &mut self.connections {
            connection.waits = false;
        }
        for waiting in open.waiting {
            // A connection that is gone no longer waits.
            waiting.send(()).ok();
        }
        Subscribed::Live
    }
}
