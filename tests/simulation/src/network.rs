//! A network of streams in memory, with latency, stalls, and connections that are cut.

mod end;
mod pipe;

use std::{sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::{plan::SEND_BUFFER_BYTES, simulation::Sim};
pub(crate) use end::End;
use pipe::Pipe;

/// A handle that breaks a connection from outside.
#[derive(Clone)]
pub(crate) struct Link([Pipe; 2]);

/// Opens a connection of a client to a server, whose send buffer has `capacity` bytes.
pub(crate) fn connect(sim: &Sim, latency: Duration, capacity: usize) -> (End, End, Link) {
    let pipes = [Pipe::new(latency, capacity), Pipe::new(latency, SEND_BUFFER_BYTES)];
    let end =
        |reads| End { sim: sim.clone(), pipes: pipes.clone(), reads, arrival: Mutex::default() };
    (end(0), end(1), Link(pipes.clone()))
}

impl Link {
    /// Cuts the connection. Bytes on their way are lost, but for the first half of them if `torn`.
    pub(crate) fn cut(&self, torn: bool) {
        for pipe in &self.0 {
            let mut pipe = pipe.state();
            let kept = if torn { pipe.bytes / 2 } else { 0 };
            pipe.keep_first(kept);
            pipe.is_cut = true;
            pipe.stalled_until = Instant::now();
            pipe.wake();
        }
    }

    /// Delays everything in both directions until a time.
    pub(crate) fn stall(&self, until: Instant) {
        for pipe in &self.0 {
            let mut pipe = pipe.state();
            pipe.stalled_until = pipe.stalled_until.max(until);
            pipe.was_stalled = true;
            pipe.wake();
        }
    }

    /// Delays what is sent in either direction until a time.
    pub(crate) fn slow_down(&self, delay: Duration, until: Instant) {
        for pipe in &self.0 {
            let mut pipe = pipe.state();
            (pipe.delay, pipe.slow_until) = (delay, until);
        }
    }

    /// Whether the connection was cut.
    pub(crate) fn was_cut(&self) -> bool {
        self.0.iter().any(|pipe| pipe.state().is_cut)
    }

    /// Whether bytes have ever arrived late.
    pub(crate) fn was_stalled(&self) -> bool {
        self.0.iter().any(|pipe| pipe.state().was_stalled)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.iter().all(|pipe| pipe.state().is_open())
    }
}
