//! Records the first error that only a restart of the process can repair, and stops the worker.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// The first fatal error of this process. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct FatalError {
    reason: Arc<OnceLock<String>>,
    stop: CancellationToken,
}

impl FatalError {
    /// Returns a handle without an error, whose stop token `shutdown` cancels too.
    pub(crate) fn new(shutdown: &CancellationToken) -> Self {
        Self { reason: Arc::default(), stop: shutdown.child_token() }
    }

    /// Returns the token that is cancelled on shutdown and on a fatal error.
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops the worker. The first report of a process is the one that is kept.
    pub(crate) fn report(&self, reason: String) {
        self.reason.set(reason).ok();
        self.stop.cancel();
    }

    /// Returns the error that was reported, if any.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_report_stops_the_worker_and_is_kept() {
        let shutdown = CancellationToken::new();
        let fatal = FatalError::new(&shutdown);
        assert!(fatal.reason().is_none() && !fatal.stop_token().is_cancelled());
        fatal.clone().report("first".into());
        fatal.report("second".into());
        assert_eq!(fatal.reason(), Some("first"));
        assert!(fatal.stop_token().is_cancelled() && !shutdown.is_cancelled());
    }

    #[test]
    fn a_shutdown_stops_without_an_error() {
        let shutdown = CancellationToken::new();
        let fatal = FatalError::new(&shutdown);
        shutdown.cancel();
        assert!(fatal.stop_token().is_cancelled() && fatal.reason().is_none());
    }
}
