//! The output of one connection: replies and pushes in the order in which they are written.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::reply::Reply;

/// Replies and pushes that have to be written. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// Set if the connection is cut instead of the next write; whether half of that arrives.
    cut: Option<bool>,
}

impl Output {
    pub(super) fn push(&self, reply: &Reply) {
        reply.encode(&mut self.state().bytes);
        self.0.changed.notify_one();
    }

    /// Cuts the connection instead of writing; `torn`: half of the bytes arrive.
    pub(super) fn cut_after(&self, torn: bool) {
        self.state().cut = Some(torn);
        self.0.changed.notify_one();
    }

    /// Returns the bytes to write, and how to cut the connection afterwards, and forgets both.
    pub(super) fn take(&self) -> (Vec<u8>, Option<bool>) {
        let mut state = self.state();
        (std::mem::take(&mut state.bytes), state.cut.take())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().bytes.is_empty()
    }

    /// Waits until there is something to write, or the connection is to be cut.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no code panics while it holds this lock")
    }
}
