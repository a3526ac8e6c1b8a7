//! The gaps of users, which their streams close, and how many of them are read together.

use std::collections::VecDeque;

use crate::{
    hub::Subscription,
    protocol::Position,
    redis::history::{Page, PageRequest},
};

/// The maximum number of streams read in one round trip, so that Redis serves others in between.
pub(super) const MAX_STREAMS: usize = 256;

/// Bytes of history that are read in one round trip, once the size of the notifications is known.
pub(super) const ROUND_BYTES: usize = 4 << 20;

/// Bytes of history that are read of one user at a time: fewer than an outbox holds.
const PAGE_BYTES: usize = 256 << 10;

/// The assumed size of the first pages of a session: eight notifications of the largest size that
/// the worker publishes by default.
const FIRST_PAGE_BYTES: usize = 512 << 10;

/// A user whose stream is being read.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) subscription: Subscription,
    /// The next page.
    pub(super) request: PageRequest,
    /// The size of that page, if it is like the one before.
    bytes: Option<usize>,
    /// Whether the user was live before.
    pub(super) is_repair: bool,
    /// Whether frames were lost that the stream no longer has.
    pub(super) is_lost: bool,
}

impl Gap {
    pub(super) fn new(subscription: Subscription, after: Position, is_repair: bool) -> Self {
        let request = PageRequest::first(subscription.user.clone(), after, PAGE_BYTES);
        Self { subscription, request, bytes: None, is_repair, is_lost: false }
    }

    /// Returns the rest of the gap, from `position` on, after a page was delivered.
    pub(super) fn rest(self, position: Position, page: &Page) -> Self {
        let next = self.request.next(page);
        let bytes = Some(page.average_bytes() * next.count);
        Self { request: PageRequest { after: position, ..next }, bytes, ..self }
    }
}

/// The gaps that are still to be read.
#[derive(Debug)]
pub(super) struct Gaps {
    queue: VecDeque<Gap>,
    /// The size of a first page, as an exponential moving average.
    first_page_bytes: usize,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { queue: VecDeque::new(), first_page_bytes: FIRST_PAGE_BYTES }
    }
}

impl Gaps {
    pub(super) fn extend(&mut self, gaps: impl IntoIterator<Item = Gap>) {
        self.queue.extend(gaps);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the gap of a user is one of them.
    pub(super) fn contains(&self, subscription: &Subscription) -> bool {
        self.queue.iter().any(|gap| gap.subscription == *subscription)
    }

    /// Takes the gaps that are read in the next round trip: as many as are expected to fit into
    /// [`ROUND_BYTES`], and at least one.
    pub(super) fn next_round(&mut self) -> Vec<Gap> {
        let (mut bytes, first_page_bytes) = (0, self.first_page_bytes);
        let fits = |gap: &&Gap| {
            bytes += gap.bytes.unwrap_or(first_page_bytes);
            bytes <= ROUND_BYTES
        };
        let fitting = self.queue.iter().take(MAX_STREAMS).take_while(fits).count();
        self.queue.drain(..fitting.max(1).min(self.queue.len())).collect()
    }

    /// Takes the size of a page into account.
    pub(super) fn record(&mut self, gap: &Gap, page: &Page) {
        if gap.bytes.is_none() {
            self.first_page_bytes = (7 * self.first_page_bytes + page.bytes()) / 8;
        }
    }
}
