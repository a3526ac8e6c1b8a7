//! Why the process has to be started anew, if it has: what a Kafka client has lost for good, only a
//! new one gets back.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Tells the worker, once, that it cannot go on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lost {
    reason: Arc<OnceLock<String>>,
    /// Cancelled with a reason, and by an ordinary shutdown.
    pub stop: CancellationToken,
}

impl Lost {
    /// Nothing is lost yet.
    #[must_use]
    pub fn new(shutdown: &CancellationToken) -> Self {
        Self { reason: Arc::default(), stop: shutdown.child_token() }
    }

    pub(crate) fn report(&self, reason: String) {
        // The first one stays.
        self.reason.set(reason).ok();
        self.stop.cancel();
    }

    /// What is lost, if something is.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }
}
