//! Whether the response of an HTTP connection is a stream or a long poll in progress. Until it is,
//! and after it has ended, the connection is pending: it holds a slot and has a deadline.

use tokio::sync::watch;

/// The activity of one HTTP connection. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(watch::Sender<bool>);

/// A response in progress, until it is dropped.
#[derive(Debug)]
pub(super) struct ActiveResponse(Activity);

impl Activity {
    /// Begins a response.
    pub(super) fn begin(&self) -> ActiveResponse {
        self.0.send_replace(true);
        ActiveResponse(self.clone())
    }

    /// Returns whether a response is in progress, and its changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}

impl Drop for ActiveResponse {
    fn drop(&mut self) {
        self.0.0.send_replace(false);
    }
}
