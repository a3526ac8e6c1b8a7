//! The connections that are not WebSockets yet. Their number is limited; when no slot is free the
//! oldest connection is evicted. A good client holds its slot for milliseconds, so a flood of
//! slow clients evicts itself.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The slots. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub(super) struct PendingConnections {
    max: NonZeroUsize,
    slots: Arc<Mutex<Slots>>,
}

#[derive(Debug, Default)]
struct Slots {
    next_number: u64,
    /// By age. Dropping a sender evicts the connection that holds the slot.
    taken: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The slot of one connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    pending: PendingConnections,
    number: u64,
    eviction: oneshot::Receiver<()>,
}

impl PendingConnections {
    pub(super) fn new(max: NonZeroUsize) -> Self {
        Self { max, slots: Arc::default() }
    }

    /// Takes a slot. Returns whether another connection was evicted for it.
    pub(super) fn acquire(&self) -> (Slot, bool) {
        let (sender, eviction) = oneshot::channel();
        let mut slots = self.slots();
        let is_full = slots.taken.len() >= self.max.get();
        if is_full {
            slots.taken.pop_first();
        }
        let number = slots.next_number;
        slots.next_number += 1;
        slots.taken.insert(number, sender);
        drop(slots);
        (Slot { pending: self.clone(), number, eviction }, is_full)
    }

    /// Evicts the oldest connection. Returns `false` if there is none.
    pub(super) fn evict_oldest(&self) -> bool {
        self.slots().taken.pop_first().is_some()
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // The slots are consistent after every step, so a panic elsewhere leaves them usable.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Waits until the connection is evicted.
    pub(super) async fn evicted(&mut self) {
        // Nothing is ever sent; eviction drops the sender.
        (&mut self.eviction).await.ok();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pending.slots().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_oldest_connection_is_evicted_when_no_slot_is_free() {
        let pending = PendingConnections::new(NonZeroUsize::new(2).unwrap());
        let ((mut first, _), (mut second, evicted)) = (pending.acquire(), pending.acquire());
        assert!(!evicted && first.evicted().now_or_never().is_none());
        let (mut third, evicted) = pending.acquire();
        assert!(evicted && first.evicted().now_or_never().is_some());
        assert!(second.evicted().now_or_never().is_none());
        drop(second);
        let (_fourth, evicted) = pending.acquire();
        assert!(!evicted && third.evicted().now_or_never().is_none());
        assert!(pending.evict_oldest() && third.evicted().now_or_never().is_some());
    }

    #[test]
    fn the_slot_of_an_evicted_connection_is_not_freed_twice() {
        let pending = PendingConnections::new(NonZeroUsize::MIN);
        let (first, _) = pending.acquire();
        let (mut second, _) = pending.acquire();
        drop(first);
        assert!(second.evicted().now_or_never().is_none());
        drop(second);
        assert!(!pending.evict_oldest());
    }
}
