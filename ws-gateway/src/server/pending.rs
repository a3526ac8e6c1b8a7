//! The connections that are not WebSockets (yet): so many have a slot. When none is free, the
//! one that has taken longest makes room. A good client needs its slot for a moment, and those
//! that dawdle are the ones to go, however many come.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The places. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct PendingConnections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By age. Dropping one tells its slot to make room.
    taken: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A slot. Dropping it makes it free.
#[derive(Debug)]
pub(super) struct Slot {
    requests: PendingConnections,
    number: u64,
    evicted_signal: oneshot::Receiver<()>,
}

impl PendingConnections {
    pub(super) fn at_most(most: NonZeroUsize) -> Self {
        Self(Arc::new(Shared { most: most.get(), state: Mutex::default() }))
    }

    /// Takes a slot, and whether another had to be given up for it.
    pub(super) fn enter(&self) -> (Slot, bool) {
        let (sender, evicted_signal) = oneshot::channel();
        let mut state = self.state();
        let is_full = state.taken.len() >= self.0.most;
        if is_full {
            state.taken.pop_first();
        }
        let number = state.next;
        state.next += 1;
        state.taken.insert(number, sender);
        drop(state);
        (Slot { requests: self.clone(), number, evicted_signal }, is_full)
    }

    /// Has the one that has taken longest make room. Returns whether there was one.
    pub(super) fn evict_oldest(&self) -> bool {
        self.state().taken.pop_first().is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every step, so a panic elsewhere does not spoil it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Waits until the slot is needed for another.
    pub(super) async fn evicted(&mut self) {
        // Nothing is ever sent; the sender is dropped.
        (&mut self.evicted_signal).await.ok();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.requests.state().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_one_that_has_taken_longest_makes_room() {
        let requests = PendingConnections::at_most(NonZeroUsize::new(2).unwrap());
        let ((mut first, _), (mut second, is_full)) = (requests.enter(), requests.enter());
        assert!(!is_full && first.evicted().now_or_never().is_none());
        let (mut third, is_full) = requests.enter();
        assert!(is_full && first.evicted().now_or_never().is_some());
        assert!(second.evicted().now_or_never().is_none());
        drop(second);
        let (_fourth, is_full) = requests.enter();
        assert!(!is_full && third.evicted().now_or_never().is_none());
        assert!(requests.evict_oldest() && third.evicted().now_or_never().is_some());
    }

    #[test]
    fn a_place_that_was_given_up_is_not_freed_twice() {
        let requests = PendingConnections::at_most(NonZeroUsize::MIN);
        let (first, _) = requests.enter();
        let (mut second, _) = requests.enter();
        drop(first);
        assert!(second.evicted().now_or_never().is_none());
        drop(second);
        assert!(!requests.evict_oldest());
    }
}
