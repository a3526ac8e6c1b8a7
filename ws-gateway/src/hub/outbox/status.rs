//! What operators see of a connection's queue.

use super::Outbox;
use crate::protocol::Filter;

/// The state of a queue and of the client that it is for.
#[derive(Debug)]
pub(in crate::hub) struct OutboxStatus {
    /// The number of items in the queue.
    pub(in crate::hub) items: usize,
    /// The bytes in the queue.
    pub(in crate::hub) bytes: usize,
    /// When the client last showed that it is there, in Unix seconds; 0: never.
    pub(in crate::hub) last_activity: u32,
    /// What the client wants of the frames.
    pub(in crate::hub) filter: Filter,
    /// Whether the connection is being closed.
    pub(in crate::hub) is_closed: bool,
}

impl Outbox {
    /// Notes what the client wants of the frames; the connection's task does the filtering.
    pub(crate) fn note_filter(&self, filter: &Filter) {
        self.state().filter = filter.clone();
    }

    /// Returns the state of the queue.
    pub(in crate::hub) fn status(&self) -> OutboxStatus {
        let state = self.state();
        OutboxStatus {
            items: state.queue.len(),
            bytes: state.bytes,
            last_activity: state.last_activity,
            filter: state.filter.clone(),
            is_closed: state.closed.is_some(),
        }
    }
}
