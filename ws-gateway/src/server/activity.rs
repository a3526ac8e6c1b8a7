//! Whether a response of an HTTP connection is in progress: a stream, a long poll, or one that
//! waits for Redis. Until it is, and after it has ended, the connection is pending: it holds a slot
//! and has a deadline.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::connection_limits::ConnectionPermit;

/// The activity of one HTTP connection. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    is_active: watch::Sender<bool>,
    permit: Arc<OnceLock<ConnectionPermit>>,
}

/// A response in progress, until it is dropped.
#[derive(Debug)]
pub(super) struct ActiveResponse(Activity);

impl Activity {
    /// Begins a response.
    pub(super) fn begin(&self) -> ActiveResponse {
        self.is_active.send_replace(true);
        ActiveResponse(self.clone())
    }

    /// Keeps the permit of the last response until the HTTP connection is closed: what the client
    /// has not read takes memory until then.
    pub(super) fn keep(&self, permit: ConnectionPermit) {
        // The connection has no response after its last.
        self.permit.set(permit).ok();
    }

    /// Returns whether a response is in progress, and its changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.is_active.subscribe()
    }
}

impl Drop for ActiveResponse {
    fn drop(&mut self) {
        self.0.is_active.send_replace(false);
    }
}
