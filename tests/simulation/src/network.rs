//! A network of streams in memory, with latency, stalls, and connections that are cut.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use ws_gateway::connection::Socket;

use crate::simulation::Sim;

/// The bytes that may be on their way in one direction; a socket has about as much.
pub(crate) const CAPACITY: usize = 64 << 10;

/// One end of a connection.
pub(crate) struct End {
    sim: Sim,
    pipes: [Pipe; 2],
    /// Which of the pipes this end reads; it writes the other one.
    reads: usize,
    /// Wakes the reader when the next bytes arrive.
    arrival: Mutex<Option<Pin<Box<Sleep>>>>,
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
    /// The size of the send buffer.
    capacity: usize,
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

/// Opens a connection with send buffers of `capacity` bytes.
pub(crate) fn connect(sim: &Sim, latency: Duration, capacity: usize) -> (End, End, Link) {
    let pipes = [Pipe::new(latency, capacity), Pipe::new(latency, capacity)];
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
            pipe.wake();
        }
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

impl End {
    fn incoming(&self) -> MutexGuard<'_, PipeState> {
        self.pipes[self.reads].state()
    }

    fn outgoing(&self) -> MutexGuard<'_, PipeState> {
        self.pipes[1 - self.reads].state()
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("End")
    }
}

impl Socket for End {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.incoming();
        let Some(arrival) = state.next_arrival() else {
            if !state.is_open() {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        if arrival <= Instant::now() {
            return Poll::Ready(Ok(()));
        }
        state.reader = Some(context.waker().clone());
        drop(state);
        let mut timer = Box::pin(sleep_until(arrival));
        let result = timer.as_mut().poll(context).map(Ok);
        *self.arrival.lock().expect("no code panics while it holds this lock") = Some(timer);
        result
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.incoming();
        let has_arrived = state.next_arrival().is_some_and(|at| at <= Instant::now());
        if let Some((_, chunk)) = state.chunks.front_mut().filter(|_| has_arrived) {
            let length = chunk.len().min(buffer.len());
            buffer[..length].copy_from_slice(&chunk[..length]);
            chunk.advance(length);
            if chunk.is_empty() {
                state.chunks.pop_front();
            }
            state.bytes -= length;
            state.wake();
            return Ok(length);
        }
        match &*state {
            PipeState { chunks, .. } if !chunks.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            PipeState { is_cut: true, .. } => Err(io::ErrorKind::ConnectionReset.into()),
            PipeState { is_closed: true, .. } => Ok(0),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.outgoing();
        if !state.is_open() || state.bytes < state.capacity {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.outgoing();
        if !state.is_open() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let written = state.append(bytes);
        if written == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(written)
    }

    /// Only the hub writes several slices at once.
    fn try_write_vectored(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let written = self.try_write(&bytes)?;
        self.sim.reach("the hub wrote to an idle connection");
        if written < bytes.len() {
            self.sim.reach("the hub wrote a part of its frames");
        }
        Ok(written)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        let mut state = self.outgoing();
        state.is_closed = true;
        state.wake();
        Ok(())
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_read_ready(context))?;
        let read = self.try_read(buffer.initialize_unfilled())?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_ready(context))?;
        Poll::Ready(self.try_write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
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
