//! A network of streams in memory, with latency, stalls, and connections that are cut.

mod end;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::simulation::Sim;
pub(crate) use end::End;

/// The bytes that may be on their way in one direction; a socket has about as much.
pub(crate) const CAPACITY: usize = 64 << 10;

/// A handle that breaks a connection from outside.
#[derive(Clone)]
pub(crate) struct Link([Pipe; 2]);

#[derive(Clone)]
struct Pipe(Arc<Mutex<PipeState>>);

struct PipeState {
    /// Bytes and the time at which they arrive.
    chunks: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// The size of the send buffer.
    capacity: usize,
    latency: Duration,
    /// Nothing arrives before this time.
    stalled_until: Instant,
    /// Whether the writer has closed its end.
    is_closed: bool,
    /// Whether the connection was cut: what is on its way arrives, then both ends fail.
    is_cut: bool,
    was_stalled: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Opens a connection of a client to a server, whose send buffer has `capacity` bytes.
pub(crate) fn connect(sim: &Sim, latency: Duration, capacity: usize) -> (End, End, Link) {
    let pipes = [Pipe::new(latency, capacity), Pipe::new(latency, CAPACITY)];
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

    /// Whether bytes have ever arrived late.
    pub(crate) fn was_stalled(&self) -> bool {
        self.0.iter().any(|pipe| pipe.state().was_stalled)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.iter().all(|pipe| pipe.state().is_open())
    }
}

impl Pipe {
    fn new(latency: Duration, capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(PipeState {
            chunks: VecDeque::new(),
            bytes: 0,
            capacity,
            latency,
            stalled_until: Instant::now(),
            is_closed: false,
            is_cut: false,
            was_stalled: false,
            reader: None,
            writer: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, PipeState> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

impl PipeState {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Appends as many bytes as fit into the send buffer; returns their number.
    fn append(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(self.capacity.saturating_sub(self.bytes));
        if length > 0 {
            let arrives = Instant::now() + self.latency;
            self.chunks.push_back((arrives, Bytes::copy_from_slice(&bytes[..length])));
            self.bytes += length;
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        length
    }

    fn is_open(&self) -> bool {
        !self.is_cut && !self.is_closed
    }

    /// Returns when the next bytes arrive.
    fn next_arrival(&self) -> Option<Instant> {
        self.chunks.front().map(|(at, _)| (*at).max(self.stalled_until))
    }

    fn keep_first(&mut self, bytes: usize) {
        let mut left = bytes;
        for (_, chunk) in &mut self.chunks {
            chunk.truncate(left);
            left -= chunk.len();
        }
        self.chunks.retain(|(_, chunk)| !chunk.is_empty());
        self.bytes = bytes;
    }
}
