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
    reads: watch::Sender<Reads>,
    permit: Arc<OnceLock<ConnectionPermit>>,
}

/// What hyper has read. While it serves a request without a body, hyper reads only if nothing of
/// the next request is in its buffer.
#[derive(Debug, Default)]
struct Reads {
    /// Whether something was received behind the request: a part of the next one, or empty lines,
    /// which no client may send there. As long as it is in the buffer, hyper does not notice that
    /// the client has disconnected.
    has_next: bool,
    /// Whether what is read may be the body of the request that is served.
    has_body: bool,
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

    /// Records that hyper reads from the connection.
    pub(super) fn begin_read(&self) {
        // Notifies nothing: the next poll of hyper would read and notify again.
        self.reads.send_if_modified(|reads| {
            reads.has_next = false;
            false
        });
    }

    /// Records what hyper has read.
    pub(super) fn end_read(&self, bytes: &[u8]) {
        self.reads.send_if_modified(|reads| {
            reads.has_next = !bytes.is_empty();
            reads.has_next
        });
    }

    /// Records that a request is served.
    pub(super) fn serve(&self, has_body: bool) {
        self.reads.send_modify(|reads| {
            // Until hyper reads, there is something in its buffer.
            reads.has_next = true;
            reads.has_body = has_body;
        });
    }

    /// Waits until the client sends something behind the request that is served. Behind a
    /// request with a body, the next one is not noticed.
    pub(super) fn next_request(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut reads = self.reads.subscribe();
        async move {
            let has_next = |reads: &Reads| reads.has_next && !reads.has_body;
            if reads.wait_for(has_next).await.is_err() {
                // The connection has ended, and its request with it.
                std::future::pending::<()>().await;
            }
        }
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
