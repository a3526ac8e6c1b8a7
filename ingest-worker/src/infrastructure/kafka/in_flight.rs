//! The batch that is being finished, if there is one.

use std::{pin::Pin, task::Poll};

use futures_util::{
    future::{BoxFuture, MaybeDone, maybe_done},
    poll,
};
use tokio::task::yield_now;

use super::batch::Batch;
use crate::domain::record::Outcome;

/// A batch and its outcomes.
type Finished<'c> = (Batch<'c>, Vec<Outcome>);

/// At most one batch that is being finished.
#[derive(Default)]
pub(crate) struct UnderWay<'c>(Option<MaybeDone<BoxFuture<'c, Finished<'c>>>>);

impl<'c> UnderWay<'c> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Takes a batch and has it go as far as it can without waiting, and what it asks for go out.
    pub(crate) async fn start(&mut self, finishing: BoxFuture<'c, Finished<'c>>) {
        let batch = self.0.insert(maybe_done(finishing));
        // What it came to is kept for `end`.
        let (Poll::Ready(()) | Poll::Pending) = poll!(batch);
        // The connection is a task on the same thread.
        yield_now().await;
    }

    /// Waits for its end; for ever, if there is none.
    pub(crate) async fn end(&mut self) -> Finished<'c> {
        let Some(batch) = &mut self.0 else { return std::future::pending().await };
        (&mut *batch).await;
        let finished = Pin::new(batch).take_output().expect("it has just ended");
        self.0 = None;
        finished
    }
}
