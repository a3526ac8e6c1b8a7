//! The bounded queue of one connection and when it has to be written. The hub pushes without
//! waiting, and writes the queue to the socket while the connection's task waits ([`flush`]);
//! otherwise that task drains it. A full queue closes the connection as too slow, or, while the
//! client is sent its history, drops frames that the stream has too.

pub(crate) mod flush;
mod probe;
mod recent;
mod replaying;
pub mod socket_writer;
mod status;
mod urgent;

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use crate::protocol::{CloseReason, Filter, Frame, Position};
use probe::Probe;
use recent::RecentFrames;
use socket_writer::SocketWriter;

/// An entry of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A frame to send.
    Frame(Frame),
    /// Frames were lost here that the stream no longer has.
    Gap,
}

impl Item {
    /// Returns the position of a frame that the user's stream has as well.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Frame(frame) => frame.position,
            Self::Gap => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.text.len(),
            Self::Gap => 0,
        }
    }
}

/// When the queue has to be drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Now.
    Now,
    /// At this time at the latest.
    At(Instant),
    /// Not yet, but the client has to be pinged at once.
    Probe,
    /// Never: the connection has to be closed.
    Closed(CloseReason),
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is queued.
    Queued,
    /// It is queued, and the caller has to call [`Outbox::flush`] soon.
    ToFlush,
    /// It is a frame that the connection was sent under another id.
    Repeated,
    /// There was no room, or the connection is closed.
    Refused,
}

/// What was drained from the queue.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    /// All items, in order.
    pub(crate) items: VecDeque<Item>,
    /// When they were due; none if the queue was empty.
    pub(crate) due: Option<Instant>,
}

/// The queue of one connection. Clones share it. It holds no buffer while it is empty.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    state: Mutex<State>,
}

/// The limits of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of items.
    pub capacity: usize,
    /// The maximum number of bytes; a single larger frame still fits into an empty queue.
    pub max_bytes: usize,
    /// How long a frame of low priority may wait for others.
    pub max_delay: Duration,
}

#[cfg(test)]
impl Limits {
    /// Eight frames, without a delay.
    pub(crate) const SMALL: Self =
        Self { capacity: 8, max_bytes: 1 << 20, max_delay: Duration::ZERO };
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    /// When the queue has to be drained; none while it is empty.
    due: Option<Instant>,
    /// The bytes in the queue.
    bytes: usize,
    closed: Option<CloseReason>,
    probe: Probe,
    /// During a replay: whether frames were dropped that have to be read from the stream.
    replaying: Option<bool>,
    waker: Option<Waker>,
    /// Writes without the connection's task, if the socket allows it.
    writer: Option<Arc<dyn SocketWriter>>,
    /// Whether the connection's task waits for frames, with nothing left to write.
    is_idle: bool,
    /// Whether the connection's task has begun a write since it last waited.
    is_writing: bool,
    /// Whether the client knows frames about the connection.
    takes_read_states: bool,
    /// The last notifications that the connection was sent.
    recent: RecentFrames,
    /// When the client last showed that it is there, in Unix seconds; 0: never.
    last_activity: u32,
    /// What the connection's task sends of the frames.
    filter: Filter,
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn has_room_for(&self, item: &Item, limits: &Limits) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < limits.capacity && self.bytes + item.bytes() <= limits.max_bytes)
    }

    fn close(&mut self, reason: CloseReason) {
        if self.closed.is_none() {
            self.closed = Some(reason);
            self.queue = VecDeque::new();
            self.wake();
        }
    }
}

impl Outbox {
    /// Bytes of a queue without items.
    #[cfg(test)]
    pub(crate) const SIZE: usize = size_of::<Shared>();

    /// Returns an empty queue.
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared { limits, state: Mutex::default() }))
    }

    /// Allows read states in the queue.
    pub(crate) fn accept_read_state(&self) {
        self.state().takes_read_states = true;
    }

    pub(super) fn accepts_read_state(&self) -> bool {
        self.state().takes_read_states
    }

    /// Appends an item, unless the connection was sent the same notification under another id. If
    /// there is no room, the connection is closed.
    pub(crate) fn push(&self, item: Item) -> Pushed {
        let mut state = self.state();
        if state.closed.is_some() {
            return Pushed::Refused;
        }
        if matches!(&item, Item::Frame(frame) if !state.recent.insert(frame)) {
            return Pushed::Repeated;
        }
        if !state.has_room_for(&item, &self.0.limits) {
            state.drop_stored();
        }
        if !state.has_room_for(&item, &self.0.limits) {
            state.close(CloseReason::TooSlow);
            return Pushed::Refused;
        }
        let low_priority = matches!(&item, Item::Frame(frame) if frame.low_priority);
        let (now, can_flush) = (Instant::now(), !low_priority && item.plain_text().is_some());
        let due = if low_priority { now + self.0.limits.max_delay } else { now };
        state.bytes += item.bytes();
        state.queue.push_back(item);
        if state.due.is_none_or(|known| due < known) {
            state.due = Some(due);
            if can_flush && state.is_idle && state.writer.is_some() {
                return Pushed::ToFlush;
            }
            state.wake();
        }
        Pushed::Queued
    }

    /// Closes the connection and drops what is queued. The first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.state().close(reason);
    }

    /// Waits until the queue is due, or due earlier than `known`. Only one task may wait. While it
    /// waits and `may_flush` is true, [`Outbox::flush`] writes.
    pub(crate) fn due(&self, known: Option<Instant>, may_flush: bool) -> impl Future<Output = Due> {
        poll_fn(move |context| {
            let mut state = self.state();
            state.is_idle = false;
            if let Some(urgent) = state.urgent() {
                return Poll::Ready(urgent);
            }
            match state.due {
                Some(due) if due <= Instant::now() => Poll::Ready(Due::Now),
                Some(due) if known.is_none_or(|known| due < known) => Poll::Ready(Due::At(due)),
                _ => {
                    state.is_idle = may_flush;
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }

    /// Waits until the connection has to be closed. Only one task may wait.
    pub(crate) fn closed(&self) -> impl Future<Output = CloseReason> {
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(reason) = state.closed {
                return Poll::Ready(reason);
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Takes everything that is queued.
    pub(crate) fn drain(&self) -> Drained {
        let mut state = self.state();
        state.replaying = None;
        state.is_idle = false;
        state.bytes = 0;
        Drained { due: state.due.take(), items: mem::take(&mut state.queue) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every step, so a panic elsewhere does not invalidate it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
