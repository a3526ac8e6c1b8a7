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
    requests: watch::Sender<Requests>,
    permit: Arc<OnceLock<ConnectionPermit>>,
}

/// The requests of a connection.
#[derive(Debug, Default)]
struct Requests {
    received: usize,
    /// Whether a part of another one was received.
    has_begun_next: bool,
    served: usize,
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

    /// Records requests that were received, and whether another one has begun.
    pub(super) fn record_requests(&self, received: usize, has_begun_next: bool) {
        self.requests.send_modify(|requests| {
            requests.received += received;
            requests.has_begun_next = has_begun_next;
        });
    }

    /// Records that the next request is served.
    pub(super) fn serve(&self) {
        self.requests.send_modify(|requests| requests.served += 1);
    }

    /// Waits until the client sends a request in addition to the one that is served.
    pub(super) fn next_request(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut requests = self.requests.subscribe();
        async move {
            let is_next = |requests: &Requests| {
                requests.received > requests.served
                    || (requests.received == requests.served && requests.has_begun_next)
            };
            if requests.wait_for(is_next).await.is_err() {
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
