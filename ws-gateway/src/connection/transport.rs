//! The streams that a WebSocket runs over.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use smallvec::SmallVec;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::{
    Bytes,
    protocol::frame::{
        FrameHeader,
        coding::{Data, OpCode},
    },
};

mod socket;

use crate::hub::outbox::{
    Outbox,
    socket_writer::{INLINE_FRAMES, SocketWriter, Written},
};
pub use socket::Socket;

/// The maximum length of the header of an unmasked frame.
const MAX_HEADER: usize = 10;

/// A stream that a WebSocket runs over.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Returns what writes frames in addition to the connection's task; none if only the task can.
    fn writer(&self) -> Option<Arc<dyn SocketWriter>> {
        None
    }

    /// Records in `outbox` when a write that had to wait for the client proceeds.
    fn watch(&mut self, _: Outbox) {}
}

/// Every byte has to be encrypted in order.
impl Transport for TlsStream<TcpStream> {}

/// A socket that the connection's task and the hub write to. A frame that was written in part is
/// completed before the next one, by either of them.
#[derive(Debug)]
pub struct SharedSocket<S>(Arc<Inner<S>>);

#[derive(Debug)]
struct Inner<S> {
    socket: S,
    writes: Mutex<Writes>,
}

/// What was written in part.
#[derive(Debug, Default)]
struct Writes {
    /// The rest of a frame of the hub.
    rest: Bytes,
    /// Whether the task has written a part of its buffer.
    is_task_partial: bool,
}

impl<S: Socket> SharedSocket<S> {
    /// Shares a socket.
    #[must_use]
    pub fn new(socket: S) -> Self {
        Self(Arc::new(Inner { socket, writes: Mutex::default() }))
    }

    /// Writes the rest of a frame of the hub.
    fn poll_rest(&self, context: &mut Context<'_>) -> Poll<io::Result<MutexGuard<'_, Writes>>> {
        let mut writes = self.0.writes();
        while !writes.rest.is_empty() {
            let written = ready!(self.poll_try_write(context, &writes.rest))?;
            writes.rest = writes.rest.slice(written..);
        }
        Poll::Ready(Ok(writes))
    }

    fn poll_try_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.socket.poll_write_ready(context))?;
            match self.0.socket.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) if !bytes.is_empty() => {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                written => return Poll::Ready(written),
            }
        }
    }
}

impl<S> Inner<S> {
    fn writes(&self) -> MutexGuard<'_, Writes> {
        // The state is consistent after every step, so a panic elsewhere does not invalidate it.
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Socket> Transport for SharedSocket<S> {
    fn writer(&self) -> Option<Arc<dyn SocketWriter>> {
        Some(Arc::clone(&self.0) as Arc<dyn SocketWriter>)
    }
}

impl<S: Socket> SocketWriter for Inner<S> {
    fn try_write(&self, texts: &[&str]) -> Written {
        let mut writes = self.writes();
        if writes.is_task_partial || !writes.rest.is_empty() {
            return Written::default();
        }
        let headers: SmallVec<[Header; INLINE_FRAMES]> =
            texts.iter().map(|text| Header::of(text.len())).collect();
        let frames = headers.iter().zip(texts);
        let slices: SmallVec<[IoSlice<'_>; 2 * INLINE_FRAMES]> = frames
            .flat_map(|(header, text)| [header.bytes(), text.as_bytes()].map(IoSlice::new))
            .collect();
        let Ok(mut written) = self.socket.try_write_vectored(&slices) else {
            return Written::default();
        };
        for (frames, frame) in slices.chunks_exact(2).enumerate() {
            let length = frame[0].len() + frame[1].len();
            if written < length {
                let is_partial = written > 0;
                if is_partial {
                    let frame = [&*frame[0], &*frame[1]].concat();
                    writes.rest = Bytes::from(frame).slice(written..);
                }
                return Written { frames: frames + usize::from(is_partial), is_partial };
            }
            written -= length;
        }
        Written { frames: texts.len(), is_partial: false }
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
struct Header {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

impl Header {
    /// Returns the header of a text of `length` bytes.
    fn of(length: usize) -> Self {
        let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        let mut bytes = [0; MAX_HEADER];
        let mut free = &mut bytes[..];
        header.format(length as u64, &mut free).expect("MAX_HEADER is enough");
        let length = MAX_HEADER - free.len();
        Self { bytes, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<S: Socket> AsyncRead for SharedSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.socket.poll_read_ready(context))?;
            match self.0.socket.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<S: Socket> AsyncWrite for SharedSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut writes = ready!(self.poll_rest(context))?;
        let written = ready!(self.poll_try_write(context, bytes))?;
        writes.is_task_partial = written < bytes.len();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        drop(ready!(self.poll_rest(context))?);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        drop(ready!(self.poll_rest(context))?);
        Poll::Ready(self.0.socket.shutdown_write())
    }
}

#[cfg(test)]
mod orders;
#[cfg(test)]
mod tests;
