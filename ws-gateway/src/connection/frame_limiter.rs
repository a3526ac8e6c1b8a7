//! Limits the WebSocket frames that are read from a client in a second. It counts below the
//! protocol: tungstenite reads any number of continuation frames without returning, so that a limit
//! on messages would not see them. The bytes are limited as well, as a frame has a largest size.

use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{settings::ConnectionSettings, transport::Transport};
use crate::hub::outbox::{Outbox, socket_writer::SocketWriter};

const SECOND: Duration = Duration::from_secs(1);

/// The smallest frame of a client, in bytes: two bytes and the mask.
const MIN_FRAME: u64 = 6;

/// A stream that pauses reading until the second is over when the client has sent more frames
/// than allowed.
#[derive(Debug)]
pub(crate) struct FrameLimiter<S> {
    stream: S,
    settings: Arc<ConnectionSettings>,
    counter: FrameCounter,
    second_start: Instant,
    frames_in_second: u32,
    /// Allocated only while the client is paused, so that an idle connection takes little memory.
    pause: Option<Pin<Box<Sleep>>>,
    /// Present once the connection is registered.
    outbox: Option<Outbox>,
    /// Whether a write waits for the client.
    is_blocked: bool,
}

impl<S> FrameLimiter<S> {
    /// Limits the frames of `stream`, of which `already_read` was read before.
    pub(crate) fn new(stream: S, already_read: &[u8], settings: Arc<ConnectionSettings>) -> Self {
        let (counter, second_start) = (FrameCounter::default(), Instant::now());
        let mut limiter = Self {
            stream,
            settings,
            counter,
            second_start,
            frames_in_second: 0,
            pause: None,
            outbox: None,
            is_blocked: false,
        };
        limiter.count(already_read);
        limiter
    }

    fn count(&mut self, bytes: &[u8]) {
        self.frames_in_second += self.counter.count(bytes);
        if self.frames_in_second > self.settings.max_messages_per_second.get() {
            self.settings.metrics.client_rate_limited.inc();
            self.pause = Some(Box::pin(sleep_until(self.second_start + SECOND)));
        }
    }

    /// A client that takes more after a write had to wait is still there, like one that answers a
    /// ping.
    fn record_progress(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let was_blocked = mem::replace(&mut self.is_blocked, written.is_pending());
        if was_blocked
            && let Poll::Ready(Ok(_)) = written
            && let Some(outbox) = &self.outbox
        {
            outbox.record_activity();
        }
        written
    }

    /// Returns how many bytes may be read without exceeding the limit by more than the one frame
    /// that shows it.
    fn max_read(&mut self) -> usize {
        if self.frames_in_second > 0 {
            let now = Instant::now();
            if now.duration_since(self.second_start) >= SECOND {
                self.second_start = now;
                self.frames_in_second = 0;
            }
        }
        let allowed = self.settings.max_messages_per_second.get();
        let frames = 1 + allowed.saturating_sub(self.frames_in_second);
        let bytes = self.counter.min_bytes_of(frames.into());
        usize::try_from(bytes).unwrap_or(usize::MAX).max(1)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameLimiter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let length = self.max_read().min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(length));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        self.count(part.filled());
        let read = part.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameLimiter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.record_progress(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.record_progress(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: Transport> Transport for FrameLimiter<S> {
    fn writer(&self) -> Option<Arc<dyn SocketWriter>> {
        self.stream.writer()
    }

    fn watch(&mut self, outbox: Outbox) {
        self.outbox = Some(outbox);
    }
}

/// Finds the frames in a stream of bytes by their headers (RFC 6455, section 5.2).
#[derive(Debug, Default)]
struct FrameCounter {
    /// Bytes of the current header that were read.
    header: u8,
    /// Bytes of the length that follow the second byte.
    extended_length: u8,
    is_masked: bool,
    /// The length of the payload as far as it was read; then what is left of the payload.
    payload: u64,
}

impl FrameCounter {
    /// Returns how many headers end within `bytes`.
    fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut frames = 0;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.header == 0 && self.payload > 0 {
                let skipped = usize::try_from(self.payload)
                    .map_or(bytes.len(), |payload| payload.min(bytes.len()));
                self.payload -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            bytes = rest;
            frames += u32::from(self.end_of_header(byte));
        }
        frames
    }

    /// Returns how many bytes at least end with the header of the `frames`-th frame from here.
    fn min_bytes_of(&self, frames: u64) -> u64 {
        match self.header {
            0 => self.payload.saturating_add(frames * MIN_FRAME),
            read => (frames * MIN_FRAME).saturating_sub(read.into()),
        }
    }

    /// Takes one byte of a header. Returns whether it is the last one.
    fn end_of_header(&mut self, byte: u8) -> bool {
        match self.header {
            0 => {}
            1 => {
                self.is_masked = byte & 0x80 != 0;
                (self.payload, self.extended_length) = match byte & 0x7f {
                    126 => (0, 2),
                    127 => (0, 8),
                    length => (length.into(), 0),
                };
            }
            at if at < 2 + self.extended_length => {
                self.payload = self.payload << 8 | u64::from(byte);
            }
            _mask => {}
        }
        self.header += 1;
        let is_end = self.header >= 2
            && self.header == 2 + self.extended_length + if self.is_masked { 4 } else { 0 };
        if is_end {
            self.header = 0;
        }
        is_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame with a payload of zeros.
    fn frame(length: usize) -> Vec<u8> {
        let mut frame = vec![0x81];
        match u16::try_from(length) {
            Ok(short @ 0..126) => frame.push(0x80 | u8::try_from(short).unwrap()),
            Ok(medium) => {
                frame.push(0xfe);
                frame.extend(medium.to_be_bytes());
            }
            Err(_) => {
                frame.push(0xff);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.resize(frame.len() + length, 0);
        frame
    }

    #[test]
    fn frames_of_every_size_are_counted_wherever_the_stream_is_cut() {
        let frames = [0, 1, 125, 126, 70_000, 0, 300].map(frame);
        let stream: Vec<u8> = frames.concat();
        for piece in [1, 2, 3, 7, 512, stream.len()] {
            let mut counter = FrameCounter::default();
            let sum: u32 = stream.chunks(piece).map(|bytes| counter.count(bytes)).sum();
            assert_eq!(sum as usize, frames.len(), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_length_beyond_all_sizes_is_no_overflow() {
        let mut counter = FrameCounter::default();
        assert_eq!(counter.count(&[0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255]), 0);
        assert_eq!(counter.count(&[0; 1000]), 1);
    }
}
