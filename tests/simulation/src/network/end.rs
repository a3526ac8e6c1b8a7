//! One end of a connection: a stream, and a socket that a gateway shares with its hub.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Mutex, MutexGuard},
    task::{Context, Poll, ready},
};

use bytes::Buf as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use ws_gateway::connection::Socket;

use super::pipe::{Pipe, PipeState};
use crate::simulation::Sim;

/// One end of a connection.
pub(crate) struct End {
    pub(super) sim: Sim,
    pub(super) pipes: [Pipe; 2],
    /// Which of the pipes this end reads; it writes the other one.
    pub(super) reads: usize,
    /// Wakes the reader when the next bytes arrive.
    pub(super) arrival: Mutex<Option<Pin<Box<Sleep>>>>,
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
        let limit = self.sim.plan.max_write();
        if bytes.len() > limit {
            self.sim.violate(format!("a connection writes {} bytes at once", bytes.len()));
        }
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
