//! Writes frames to the sockets of connections that wait for some.

use std::{mem, time::SystemTime};

use tokio::task::coop;

use super::{
    Hub, State,
    outbox::{Drained, Item},
};
use crate::protocol::Frame;

impl Hub {
    /// Applies `act`, which may queue frames, and has the queues written soon.
    pub(super) fn fan_out<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let was_empty = state.to_flush.is_empty();
        let result = act(&mut state);
        let is_first = was_empty && !state.to_flush.is_empty();
        drop(state);
        if is_first {
            self.0.flush.notify_one();
        }
        result
    }

    /// Writes what is queued for waiting connections, until it is dropped. It runs when the task
    /// that reads from Redis has handled everything it has read: frames for one socket that were
    /// read together share a write.
    pub async fn write_queued(&self) {
        let mut outboxes = Vec::new();
        loop {
            self.0.flush.notified().await;
            mem::swap(&mut self.state().to_flush, &mut outboxes);
            for outbox in outboxes.drain(..) {
                self.observe(outbox.flush());
                coop::consume_budget().await;
            }
        }
    }

    fn observe(&self, Drained { items, due }: Drained) {
        if items.is_empty() {
            return;
        }
        let (metrics, now) = (&self.0.metrics, SystemTime::now());
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        metrics.messages_sent.inc_by(count.into());
        metrics.queue_depth.observe(count.into());
        if let Some(due) = due {
            metrics.queued.observe(due.elapsed().as_secs_f64());
        }
        for item in &items {
            if let Item::Frame(Frame { position: Some(position), low_priority, .. }) = item {
                metrics.observe_delivery(*position, *low_priority, now);
            }
        }
    }
}
