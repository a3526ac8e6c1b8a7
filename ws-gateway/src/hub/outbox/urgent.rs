//! What is sent before the queue, or not at all: the close of the connection, the ping of a probe,
//! and restored notifications that the client has. The connection's task sends a ping, which it
//! cannot while a write waits for the client.

use std::{future::poll_fn, task::Poll};

use super::{Due, Outbox, State, probe::Probe};
use crate::{hub::client::unix_seconds, protocol::Frame};

impl State {
    /// Returns what is due before the queue.
    pub(super) fn urgent(&mut self) -> Option<Due> {
        self.is_writing = false;
        if let Some(reason) = self.closed {
            return Some(Due::Closed(reason));
        }
        if self.probe == Probe::Requested {
            self.probe = Probe::Pinged;
            return Some(Due::Probe);
        }
        None
    }
}

impl Outbox {
    /// Requests a ping of the client, unless one is outstanding.
    pub(in crate::hub) fn probe(&self) {
        let mut state = self.state();
        if state.probe == Probe::None {
            state.probe = Probe::Requested;
            state.wake();
        }
    }

    /// Records a sign of life of the client, which answers an outstanding ping.
    pub(crate) fn record_activity(&self) {
        let mut state = self.state();
        state.probe = Probe::None;
        state.last_activity = unix_seconds();
    }

    /// Whether a probe is not answered yet.
    pub(in crate::hub) fn is_probed(&self) -> bool {
        self.state().probe != Probe::None
    }

    /// Whether the client was pinged for a probe and has not answered, or could not be pinged
    /// because it does not take what is written.
    pub(in crate::hub) fn is_silent(&self) -> bool {
        let state = self.state();
        match state.probe {
            Probe::None => false,
            Probe::Requested => state.is_writing,
            Probe::Pinged => true,
        }
    }

    /// As [`Outbox::due`], for a connection whose queue has to wait.
    pub(crate) fn urgent(&self) -> impl Future<Output = Due> {
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(urgent) = state.urgent() {
                return Poll::Ready(urgent);
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Notes that a queued frame is not sent: the connection's filter excludes it, or the history
    /// passed its position.
    pub(crate) fn forget(&self, frame: &Frame) {
        self.state().recent.remove(frame);
    }

    /// Notes frames that the connection is sent without the queue.
    pub(crate) fn remember(&self, frames: &[Frame]) {
        let mut state = self.state();
        for frame in frames {
            state.recent.add(frame);
        }
    }
}
