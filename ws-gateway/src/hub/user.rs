//! One user: the connections, the newest delivered position, and the frames that are held while
//! the subscription is not confirmed.

use shared::user::UserId;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    client::{Client, unix_seconds},
    outbox::{Item, Outbox, Pushed},
    subscription::{PendingSubscription, Subscription},
};
use crate::{
    auth::Credential,
    metrics::{Delivery, Failure, Metrics},
    protocol::{Frame, Position},
};

/// The maximum number of frames that are held for a user. Later frames are read from the stream
/// instead; only those without a position are lost.
const MAX_HELD: usize = 256;

/// The maximum size of these frames, in bytes; a single larger frame is held as well. As much as a
/// repair reads of a stream at a time, so that the queues of connections take it at once.
const MAX_HELD_BYTES: usize = 256 << 10;

/// The result of marking a user as subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// The user is live, or the entry no longer exists.
    Live,
    /// More frames arrived than are held: read the stream from here and mark the user again.
    ReadFrom(Position),
}

/// The position at which a user continues after a gap that cannot be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resync {
    /// The old position: the stream still has newer entries.
    Continue,
    /// This position: the stream ends before the old one.
    At(Position),
    /// No position: Redis does not return one.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: Uuid,
    pub(super) outbox: Outbox,
    /// Whether it joined before the subscription was confirmed; it was promised no frames yet.
    waits: bool,
    /// The token that the connection was opened or renewed with.
    pub(super) credential: Credential,
    /// When it was opened, in Unix seconds.
    pub(super) since: u32,
    /// None until it is known.
    pub(super) client: Option<Client>,
}

impl Connection {
    fn queue(&self, frame: Frame, fan_out: &mut FanOut<'_>) {
        if frame.is_read_state && !self.outbox.accepts_read_state() {
            return;
        }
        match self.outbox.push(Item::Frame(frame)) {
            Pushed::Queued => {}
            Pushed::ToFlush => fan_out.to_flush.push(self.outbox.clone()),
            Pushed::Repeated => fan_out.has_repeated = true,
            Pushed::Refused => fan_out.metrics.messages_failed.of(Failure::TooSlow).inc(),
        }
    }
}

/// What queueing frames needs in addition to the user.
#[derive(Debug)]
pub(super) struct FanOut<'a> {
    pub(super) metrics: &'a Metrics,
    /// Queues that have to be written to their sockets.
    pub(super) to_flush: &'a mut Vec<Outbox>,
    /// Whether a connection was sent a frame before, under another id.
    pub(super) has_repeated: bool,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) generation: u64,
    /// The newest position that was delivered.
    pub(super) position: Option<Position>,
    /// Whether `position` is of a frame that arrived while the user was live. Redis publishes in
    /// order: a later frame with a smaller position shows that one of the two is not of the stream.
    has_live_position: bool,
    /// Oldest first.
    pub(super) connections: Vec<Connection>,
    /// Present until the subscription is confirmed and no frame is missing.
    pending: Option<Box<Pending>>,
}

/// The state of a user whose subscription is not confirmed.
#[derive(Debug, Default)]
struct Pending {
    held: Vec<Frame>,
    /// The bytes of `held`.
    held_bytes: usize,
    overflowed: bool,
    /// Whether the user continues at another position: no held frame is a duplicate.
    resynced: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Pending {
    fn has_room_for(&self, frame: &Frame) -> bool {
        let bytes = self.held_bytes + frame.text.len();
        self.held.is_empty() || (self.held.len() < MAX_HELD && bytes <= MAX_HELD_BYTES)
    }
}

impl User {
    pub(super) fn new(generation: u64) -> Self {
        let pending = Some(Box::default());
        // Most users have one connection; the first push would allocate for four.
        let connections = Vec::with_capacity(1);
        Self { generation, position: None, has_live_position: false, connections, pending }
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.pending.is_none()
    }

    /// Returns whether a connection has been promised frames, read states among them. One that is
    /// not confirmed is sent the read state with its first frame.
    pub(super) fn shows_read_state(&self) -> bool {
        let shows =
            |connection: &Connection| !connection.waits && connection.outbox.accepts_read_state();
        self.connections.iter().any(shows)
    }

    pub(super) fn pending(&self, user: UserId) -> PendingSubscription {
        PendingSubscription {
            subscription: Subscription { user, generation: self.generation },
            position: self.position,
            was_live: self.connections.iter().any(|connection| !connection.waits),
        }
    }

    /// Adds a connection; returns what resolves when the subscription is confirmed, if it is not.
    pub(super) fn join(&mut self, id: Uuid, outbox: Outbox) -> Option<oneshot::Receiver<()>> {
        let (waits, credential) = (self.pending.is_some(), Credential::default());
        let since = unix_seconds();
        self.connections.push(Connection { id, outbox, waits, credential, since, client: None });
        let pending = self.pending.as_mut()?;
        let (sender, receiver) = oneshot::channel();
        pending.waiting.push(sender);
        Some(receiver)
    }

    /// Sets the token of a connection. Returns the one that it replaces.
    pub(super) fn set_credential(
        &mut self,
        id: Uuid,
        credential: Credential,
    ) -> Option<Credential> {
        Some(std::mem::replace(&mut self.connection(id)?.credential, credential))
    }

    /// Returns a connection, unless it has left.
    pub(super) fn connection(&mut self, id: Uuid) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|known| known.id == id)
    }

    /// Removes a connection. Returns its token.
    pub(super) fn leave(&mut self, id: Uuid) -> Option<Credential> {
        let index = self.connections.iter().position(|connection| connection.id == id)?;
        Some(self.connections.remove(index).credential)
    }

    /// Holds frames until the next [`User::mark_subscribed`].
    pub(super) fn hold(&mut self) {
        self.pending.get_or_insert_default();
    }

    /// Queues a live frame. A frame that contradicts the position is held, with those after it,
    /// until the stream has been read again.
    pub(super) fn deliver(&mut self, frame: Frame, fan_out: &mut FanOut<'_>) -> Delivery {
        if self.is_subscribed() && !self.contradicts(&frame) {
            let has_position = frame.position.is_some();
            let delivery = self.forward(frame, fan_out);
            self.has_live_position |= has_position && delivery == Delivery::Delivered;
            return delivery;
        }
        let pending = self.pending.get_or_insert_default();
        if pending.has_room_for(&frame) {
            pending.held_bytes += frame.text.len();
            pending.held.push(frame);
        } else if frame.position.is_some() {
            pending.overflowed = true;
        } else {
            fan_out.metrics.messages_failed.of(Failure::DroppedInGap).inc();
        }
        Delivery::Held
    }

    fn contradicts(&self, frame: &Frame) -> bool {
        self.has_live_position && frame.position.is_some() && frame.position < self.position
    }

    /// Queues a frame of the stream. Held frames up to it are duplicates, also after a resync.
    pub(super) fn replay(&mut self, frame: Frame, fan_out: &mut FanOut<'_>) {
        if let Some(pending) = &mut self.pending {
            pending.resynced = false;
        }
        self.forward(frame, fan_out);
    }

    /// Queues a frame for every connection, unless it was delivered before.
    fn forward(&mut self, frame: Frame, fan_out: &mut FanOut<'_>) -> Delivery {
        if let Some(position) = frame.position {
            if self.position.is_some_and(|newest| position <= newest) {
                return Delivery::Duplicate;
            }
            self.position = Some(position);
        }
        // Most users have one connection, which needs no copy.
        if let Some((last, others)) = self.connections.split_last() {
            for connection in others {
                connection.queue(frame.clone(), fan_out);
            }
            last.queue(frame, fan_out);
        }
        Delivery::Delivered
    }

    pub(super) fn report_gap(&mut self, resync: Resync) {
        for connection in self.connections.iter().filter(|connection| !connection.waits) {
            // A full queue closes the connection, and the client resumes.
            connection.outbox.push(Item::Gap);
        }
        self.position = match resync {
            Resync::Continue => return,
            Resync::At(position) => Some(position),
            Resync::Unknown => None,
        };
        self.pending.get_or_insert_default().resynced = true;
    }

    pub(super) fn mark_subscribed(&mut self, fan_out: &mut FanOut<'_>) -> Subscribed {
        let Some(mut pending) = self.pending.take() else { return Subscribed::Live };
        self.has_live_position = false;
        let newest = self.position;
        if std::mem::take(&mut pending.resynced) {
            self.position = None;
        }
        pending.held_bytes = 0;
        for frame in std::mem::take(&mut pending.held) {
            self.forward(frame, fan_out);
        }
        self.position = self.position.max(newest);
        if std::mem::take(&mut pending.overflowed) {
            self.pending = Some(pending);
            return Subscribed::ReadFrom(self.position.unwrap_or(Position::START));
        }
        for connection in &mut self.connections {
            connection.waits = false;
        }
        for waiting in pending.waiting {
            // The receiver is gone when the connection has ended.
            waiting.send(()).ok();
        }
        Subscribed::Live
    }
}
