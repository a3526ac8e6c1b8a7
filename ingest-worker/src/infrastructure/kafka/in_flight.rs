//! The one operation of a kind that is in progress, if there is one.

use std::{pin::Pin, task::Poll};

use futures_util::{
    future::{BoxFuture, MaybeDone, maybe_done},
    poll,
};
use tokio::task::yield_now;

/// At most one future that yields a `T`.
pub(crate) struct InFlight<'f, T>(Option<MaybeDone<BoxFuture<'f, T>>>);

impl<'f, T> InFlight<'f, T> {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Starts an operation: runs it until it has to wait, and lets its requests be sent.
    pub(crate) async fn start(&mut self, operation: BoxFuture<'f, T>) {
        let operation = self.0.insert(maybe_done(operation));
        // An output that is there already is kept for `wait`.
        let (Poll::Ready(()) | Poll::Pending) = poll!(operation);
        // The connection writes in a task on the same thread.
        yield_now().await;
    }

    /// Waits for the operation and returns its output; never returns if there is none. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> T {
        let Some(operation) = &mut self.0 else { return std::future::pending().await };
        (&mut *operation).await;
        let output = Pin::new(operation).take_output().expect("a finished future has an output");
        self.0 = None;
        output
    }
}
