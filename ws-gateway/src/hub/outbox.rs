//! The bounded queue of one socket, and when it is flushed. The hub puts frames in and never
//! waits; the socket's task takes them out. When it is full the socket ends as too slow, unless
//! its client is still being sent its past: then what is queued is left to be read there, too.

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use crate::protocol::{CloseReason, Frame};

/// What waits for a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A text to send.
    Frame(Frame),
    /// Something was lost here that no longer exists.
    Gap,
}

impl Item {
    /// Whether the user's stream has it as well.
    fn is_stored(&self) -> bool {
        matches!(self, Self::Frame(frame) if frame.position.is_some())
    }
}

/// When the queue is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At once.
    Now,
    /// Not before something urgent comes, but at this time at the latest.
    At(Instant),
    /// Never: the socket is to be closed.
    Closed(CloseReason),
}

/// What was taken from the queue.
#[derive(Debug)]
pub struct Drained {
    /// All that waited, in order.
    pub items: VecDeque<Item>,
    /// When it was due; none if nothing waited.
    pub due: Option<Instant>,
}

/// The queue of one socket; clones are the same queue. It takes no memory while it is empty.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    state: Mutex<State>,
}

/// How much and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most items that wait.
    pub capacity: usize,
    /// Longest wait of a frame that may wait.
    pub max_delay: Duration,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    /// By when the queue is to be taken; none while it is empty.
    due: Option<Instant>,
    closed: Option<CloseReason>,
    /// While the client's past is being read: whether some of what was queued is gone again.
    replaying: Option<bool>,
    waker: Option<Waker>,
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Makes room, if what is dropped can still be read from the stream.
    fn drop_what_is_stored(&mut self) {
        if let Some(dropped) = &mut self.replaying {
            *dropped = true;
            self.queue.retain(|item| !item.is_stored());
        }
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
    /// An empty queue.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared { limits, state: Mutex::default() }))
    }

    /// Appends an item. Returns whether there was room; without it, the socket ends.
    pub fn push(&self, item: Item) -> bool {
        let mut state = self.state();
        if state.closed.is_some() {
            return false;
        }
        if state.queue.len() >= self.0.limits.capacity {
            state.drop_what_is_stored();
        }
        if state.queue.len() >= self.0.limits.capacity {
            state.close(CloseReason::TooSlow);
            return false;
        }
        let low_priority = matches!(&item, Item::Frame(frame) if frame.low_priority);
        let now = Instant::now();
        let by = if low_priority { now + self.0.limits.max_delay } else { now };
        state.queue.push_back(item);
        if state.due.is_none_or(|due| by < due) {
            state.due = Some(by);
            state.wake();
        }
        true
    }

    /// The client's past is going to be read. Until [`Outbox::end_replay`] says that what is
    /// queued follows, or it is taken, a full queue does not end the socket.
    pub fn begin_replay(&self) {
        self.state().replaying = Some(false);
    }

    /// Whether what is queued follows what has been read of the past; if not, some of it is gone
    /// and the past is to be read on.
    #[must_use]
    pub fn end_replay(&self) -> bool {
        let mut state = self.state();
        let follows = state.replaying.replace(false) != Some(true);
        if follows {
            state.replaying = None;
        }
        follows
    }

    /// Ends the socket; what still waits is dropped. The first reason counts.
    pub fn close(&self, reason: CloseReason) {
        self.state().close(reason);
    }

    /// Waits until the queue is due, or due earlier than `known`. One task at a time may wait.
    pub async fn due(&self, known: Option<Instant>) -> Due {
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(reason) = state.closed {
                return Poll::Ready(Due::Closed(reason));
            }
            match state.due {
                Some(due) if due <= Instant::now() => Poll::Ready(Due::Now),
                Some(due) if known.is_none_or(|known| due < known) => Poll::Ready(Due::At(due)),
                _ => {
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Waits until the socket is to end, whatever is queued.
    pub async fn closed(&self) -> CloseReason {
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(reason) = state.closed {
                return Poll::Ready(reason);
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Takes everything.
    #[must_use]
    pub fn drain(&self) -> Drained {
        let mut state = self.state();
        state.replaying = None;
        Drained { due: state.due.take(), items: mem::take(&mut state.queue) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every step, so a panic elsewhere does not spoil it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LIMITS: Limits = Limits { capacity: 2, max_delay: Duration::from_millis(500) };

    fn frame(id: u64, low_priority: bool) -> Item {
        let mut frame = Frame::published(format!("{{\"id\":\"{id}-0\",\"event\":\"e\"}}").into());
        frame.low_priority = low_priority;
        Item::Frame(frame)
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_frame_is_due_at_once_and_takes_the_waiting_ones_along_in_order() {
        let outbox = Outbox::new(LIMITS);
        assert_eq!(outbox.due(None).now_or_never(), None);
        assert!(outbox.push(frame(1, true)));
        let by = Instant::now() + LIMITS.max_delay;
        assert_eq!(outbox.due(None).await, Due::At(by));
        assert_eq!(outbox.due(Some(by)).now_or_never(), None);
        assert!(outbox.push(frame(2, false)));
        assert_eq!(outbox.due(Some(by)).await, Due::Now);
        assert_eq!(outbox.drain().items, [frame(1, true), frame(2, false)]);
        assert_eq!(outbox.due(None).now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_may_wait_waits_no_longer_than_its_limit() {
        let outbox = Outbox::new(LIMITS);
        outbox.push(frame(1, true));
        tokio::time::advance(Duration::from_millis(300)).await;
        outbox.push(frame(2, true));
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(outbox.due(None).await, Due::Now);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeping_socket_is_woken_by_a_frame_and_by_its_end() {
        let outbox = Outbox::new(LIMITS);
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.due(None).await }
        });
        tokio::task::yield_now().await;
        outbox.push(frame(1, false));
        assert_eq!(waiting.await.unwrap(), Due::Now);
        outbox.close(CloseReason::LimitReached);
        outbox.close(CloseReason::TooSlow);
        assert_eq!(outbox.closed().await, CloseReason::LimitReached);
    }

    #[tokio::test]
    async fn while_the_past_is_read_a_full_queue_leaves_to_it_what_the_stream_has() {
        let outbox = Outbox::new(LIMITS);
        outbox.begin_replay();
        let foreign = Item::Frame(Frame::published("{}".into()));
        for item in [foreign.clone(), frame(1, false), frame(2, false)] {
            assert!(outbox.push(item));
        }
        assert!(!outbox.end_replay());
        assert!(outbox.end_replay());
        assert_eq!(outbox.drain().items, [foreign.clone(), frame(2, false)]);
        outbox.begin_replay();
        assert!(outbox.push(foreign.clone()) && outbox.push(Item::Gap));
        // Nothing of this can be read again.
        assert!(!outbox.push(frame(3, false)));
        assert_eq!(outbox.closed().await, CloseReason::TooSlow);
    }

    #[tokio::test]
    async fn a_full_queue_ends_the_socket_and_frees_its_memory() {
        let outbox = Outbox::new(LIMITS);
        assert!(outbox.push(frame(1, false)) && outbox.push(Item::Gap));
        assert!(!outbox.push(frame(3, false)));
        assert_eq!(outbox.due(None).await, Due::Closed(CloseReason::TooSlow));
        assert!(outbox.drain().items.is_empty());
        assert!(!outbox.push(frame(4, false)));
    }
}
