//! One direction of a connection: the bytes on their way, and the state of both of its ends.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

/// One direction of a connection. Clones share it.
#[derive(Clone)]
pub(super) struct Pipe(Arc<Mutex<PipeState>>);

pub(super) struct PipeState {
    /// Bytes and the time at which they arrive.
    pub(super) chunks: VecDeque<(Instant, Bytes)>,
    pub(super) bytes: usize,
    /// The size of the send buffer.
    pub(super) capacity: usize,
    latency: Duration,
    /// A longer latency, and until when it applies.
    pub(super) delay: Duration,
    pub(super) slow_until: Instant,
    /// Nothing arrives before this time.
    pub(super) stalled_until: Instant,
    /// Whether the writer has closed its end.
    pub(super) is_closed: bool,
    /// Whether the connection was cut: what is on its way arrives, then both ends fail.
    pub(super) is_cut: bool,
    pub(super) was_stalled: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Pipe {
    pub(super) fn new(latency: Duration, capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(PipeState {
            chunks: VecDeque::new(),
            bytes: 0,
            capacity,
            latency,
            delay: latency,
            slow_until: Instant::now(),
            stalled_until: Instant::now(),
            is_closed: false,
            is_cut: false,
            was_stalled: false,
            reader: None,
            writer: None,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, PipeState> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

impl PipeState {
    pub(super) fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Appends as many bytes as fit into the send buffer; returns their number.
    pub(super) fn append(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(self.capacity.saturating_sub(self.bytes));
        if length > 0 {
            let is_slow = Instant::now() < self.slow_until;
            let latency = if is_slow { self.delay } else { self.latency };
            let arrives = Instant::now() + latency;
            self.chunks.push_back((arrives, Bytes::copy_from_slice(&bytes[..length])));
            self.bytes += length;
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        length
    }

    pub(super) fn is_open(&self) -> bool {
        !self.is_cut && !self.is_closed
    }

    /// Returns when the next bytes arrive.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.chunks.front().map(|(at, _)| (*at).max(self.stalled_until))
    }

    pub(super) fn keep_first(&mut self, bytes: usize) {
        let mut left = bytes;
        for (_, chunk) in &mut self.chunks {
            chunk.truncate(left);
            left -= chunk.len();
        }
        self.chunks.retain(|(_, chunk)| !chunk.is_empty());
        self.bytes = bytes;
    }
}
