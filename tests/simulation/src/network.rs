//! A network of streams in memory, with latency, stalls, and connections that are cut.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use ws_gateway::connection::Transport;

/// The bytes that may be on their way in one direction; a socket has about as much.
const CAPACITY: usize = 64 << 10;

/// One end of a connection.
pub(crate) struct End {
    pipes: [Pipe; 2],
    /// Which of the pipes this end reads; it writes the other one.
    reads: usize,
    /// Wakes the reader when the next bytes arrive.
    arrival: Option<Pin<Box<Sleep>>>,
}

/// A handle that breaks a connection from outside.
#[derive(Clone)]
pub(crate) struct Link([Pipe; 2]);

#[derive(Clone)]
struct Pipe(Arc<Mutex<PipeState>>);

struct PipeState {
    /// Bytes and the time at which they arrive.
    chunks: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    latency: Duration,
    /// Nothing arrives before this time.
    stalled_until: Instant,
    /// Whether the writer has closed its end.
    is_closed: bool,
    /// Whether the connection was cut: what is on its way arrives, then both ends fail.
    is_cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Opens a connection.
pub(crate) fn connect(latency: Duration) -> (End, End, Link) {
    let pipes = [Pipe::new(latency), Pipe::new(latency)];
    let end = |reads| End { pipes: pipes.clone(), reads, arrival: None };
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
            pipe.wake();
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.iter().all(|pipe| {
            let pipe = pipe.state();
            !pipe.is_cut && !pipe.is_closed
        })
    }
}

impl Pipe {
    fn new(latency: Duration) -> Self {
        Self(Arc::new(Mutex::new(PipeState {
            chunks: VecDeque::new(),
            bytes: 0,
            latency,
            stalled_until: Instant::now(),
            is_closed: false,
            is_cut: false,
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

impl Transport for End {}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pipe = self.pipes[self.reads].clone();
        loop {
            let mut state = pipe.state();
            let PipeState { stalled_until, is_cut, is_closed, .. } = *state;
            let arrival = match state.chunks.front_mut() {
                Some((at, _)) if (*at).max(stalled_until) > Instant::now() => {
                    Some((*at).max(stalled_until))
                }
                Some((_, chunk)) => {
                    let length = chunk.len().min(buffer.remaining());
                    buffer.put_slice(&chunk[..length]);
                    chunk.advance(length);
                    if chunk.is_empty() {
                        state.chunks.pop_front();
                    }
                    state.bytes -= length;
                    state.wake();
                    return Poll::Ready(Ok(()));
                }
                None if is_cut => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                None if is_closed => return Poll::Ready(Ok(())),
                None => None,
            };
            state.reader = Some(context.waker().clone());
            drop(state);
            let Some(arrival) = arrival else { return Poll::Pending };
            let mut timer = Box::pin(sleep_until(arrival));
            if timer.as_mut().poll(context).is_pending() {
                self.arrival = Some(timer);
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.pipes[1 - self.reads].state();
        if state.is_cut || state.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = bytes.len().min(CAPACITY.saturating_sub(state.bytes));
        if length == 0 && !bytes.is_empty() {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let arrives = Instant::now() + state.latency;
        state.chunks.push_back((arrives, Bytes::copy_from_slice(&bytes[..length])));
        state.bytes += length;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.pipes[1 - self.reads].state();
        state.is_closed = true;
        state.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        for pipe in &self.pipes {
            let mut state = pipe.state();
            state.is_closed = true;
            state.wake();
        }
    }
}
