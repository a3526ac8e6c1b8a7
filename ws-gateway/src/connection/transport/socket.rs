//! What a shared socket needs of the operating system.

use std::{
    fmt,
    io::{self, IoSlice},
    task::{Context, Poll},
};

use rustix::net::{Shutdown, shutdown};
use tokio::{io::Interest, net::TcpStream};

/// A non-blocking byte stream that two tasks may write to.
///
/// A `try_` function never waits. After it has failed with [`io::ErrorKind::WouldBlock`], the
/// matching `poll_` function wakes its task once another try may succeed. Any other error ends the
/// connection.
pub trait Socket: fmt::Debug + Send + Sync + Unpin + 'static {
    /// Waits for bytes, the end of the stream, or an error.
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads what has arrived; 0 at the end of the stream.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing has arrived.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Waits for room in the send buffer, or an error.
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes as much as fits into the send buffer.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the buffer is full.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes slices one after another, as much as fits into the send buffer.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the buffer is full.
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the stream to the peer.
    ///
    /// # Errors
    /// If the connection has ended.
    fn shutdown_write(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(context)
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        let result = self.try_io(Interest::READABLE, || {
            length = rustix::io::read(self, &mut *buffer)?;
            // A short read has emptied the socket. Readiness is cleared without the system call
            // that would say so.
            let is_empty = (1..buffer.len()).contains(&length);
            if is_empty { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if length > 0 { Ok(length) } else { result.map(|()| 0) }
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(slices)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(shutdown(self, Shutdown::Write)?)
    }
}
