//! The unread badge, as the browser package counts it: the last read state, and the notifications
//! after it.

use std::collections::BTreeSet;

use crate::redis::store::Id;

/// More notifications than this are counted by the gateway only.
const MAX_COUNTED: usize = 256;

#[derive(Default)]
pub(super) struct ReadMarks {
    known: Option<Known>,
    /// The notifications that the gateway has not counted.
    later: BTreeSet<Id>,
    /// The events that were received.
    received: BTreeSet<String>,
    /// Whether the read state is asked for, and may then be older than the known one: Redis may
    /// have lost its data.
    is_stale: bool,
    /// Whether the request is to be sent.
    asks: bool,
    /// Whether no filter has held back a notification since the last read state.
    counts_all: bool,
}

/// A read state as a frame states it.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) up_to: Id,
    pub(super) unread: usize,
    pub(super) newest: Id,
}

/// What a device shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Badge {
    pub(crate) up_to: Id,
    pub(crate) unread: usize,
    /// Whether no filter has held back a notification that counts.
    pub(crate) counts_all: bool,
}

impl ReadMarks {
    pub(super) fn filter_changed(&mut self) {
        self.counts_all = false;
    }

    pub(super) fn badge(&self) -> Option<Badge> {
        let Known { up_to, unread, .. } = self.known?;
        Some(Badge { up_to, unread: unread + self.later.len(), counts_all: self.counts_all })
    }

    /// Takes the read state of a connection that opens: everything later is sent on it.
    pub(super) fn open(&mut self, state: Known, is_unfiltered: bool) {
        self.later.clear();
        self.is_stale = true;
        self.apply(state, is_unfiltered);
    }

    /// Asks for the state. After a gap, what was counted is in it, or lost.
    pub(super) fn ask_after(&mut self, gap: bool) {
        if gap {
            self.later.clear();
        }
        self.ask();
    }

    fn ask(&mut self) {
        (self.is_stale, self.asks) = (true, true);
    }

    /// Returns whether a request for the state has to be sent now.
    pub(super) fn take_request(&mut self) -> bool {
        std::mem::take(&mut self.asks)
    }

    /// Returns the newest position that counts.
    pub(super) fn newest(&self) -> Id {
        let counted = self.known.map(|known| known.newest);
        self.later.last().copied().or(counted).unwrap_or_default()
    }

    /// Returns false if the state is older than the known one: it is asked for.
    pub(super) fn apply(&mut self, state: Known, is_unfiltered: bool) -> bool {
        let known = self.known.filter(|_| !self.is_stale);
        let is_older = known.is_some_and(|known| {
            state.up_to < known.up_to || (state.up_to == known.up_to && state.newest < known.newest)
        });
        if is_older {
            self.ask();
            return false;
        }
        self.asks = false;
        (self.is_stale, self.known, self.counts_all) = (false, Some(state), is_unfiltered);
        self.later = self.later.split_off(&state.newest);
        self.later.remove(&state.newest);
        true
    }

    pub(super) fn count(&mut self, id: Id, event: &str) {
        let is_counted = self.known.is_some_and(|known| id <= known.newest);
        let is_repeated = !self.received.insert(event.to_owned());
        if !is_repeated && !is_counted {
            self.later.insert(id);
        }
        // The gateway counts an event again if it was read before Redis lost its claim.
        if is_repeated || self.later.len() > MAX_COUNTED {
            self.ask();
        }
    }
}
