//! A minimal WebSocket client. The tester often runs on the gateway's machine and must not slow it
//! down; all sockets of a thread share one read buffer.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// A TCP or TLS stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Bytes per read at most.
const BUFFER_SIZE: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_SIZE].into());
}

/// An open WebSocket.
pub(crate) struct WebSocket {
    stream: Box<dyn Stream>,
    /// Bytes of an incomplete frame.
    rest: Vec<u8>,
    /// Whether `rest` holds complete frames that came with the handshake.
    has_frame: bool,
    /// Payload of the latest unanswered ping.
    ping: Option<Vec<u8>>,
    closed: bool,
}

impl WebSocket {
    /// A WebSocket after its handshake, with the bytes that were read behind the response.
    pub(crate) fn new(stream: Box<dyn Stream>, rest: Vec<u8>) -> Self {
        let has_frame = frame(&rest).is_some();
        Self { stream, rest, has_frame, ping: None, closed: false }
    }

    /// Waits for data and passes each text to `take`; of a fragmented text, its first frame.
    /// Returns whether the connection is still open.
    ///
    /// # Errors
    /// When reading or writing fails.
    pub(crate) async fn read(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        if self.has_frame {
            self.has_frame = false;
            let rest = std::mem::take(&mut self.rest);
            self.parse(&rest, &mut take);
            return Ok(!self.closed);
        }
        let open = poll_fn(|context| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
                let read = buffer.filled();
                if read.is_empty() {
                    return Poll::Ready(io::Result::Ok(false));
                }
                if self.rest.is_empty() {
                    self.parse(read, &mut take);
                } else {
                    let mut rest = std::mem::take(&mut self.rest);
                    rest.extend_from_slice(read);
                    self.parse(&rest, &mut take);
                }
                Poll::Ready(Ok(!self.closed))
            })
        })
        .await?;
        if let Some(ping) = self.ping.take() {
            self.stream.write_all(&pong(&ping)).await?;
        }
        Ok(open)
    }

    fn parse(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8])) {
        while let Some((kind, payload, rest)) = frame(bytes) {
            match kind {
                FrameKind::Text => take(payload),
                FrameKind::Ping => self.ping = Some(payload.to_vec()),
                FrameKind::Close => self.closed = true,
                FrameKind::Other => {}
            }
            bytes = rest;
        }
        self.rest = bytes.to_vec();
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("closed", &self.closed).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameKind {
    Text,
    Ping,
    Close,
    Other,
}

/// Splits off the first frame of a server: kind, payload and remaining bytes; none if incomplete.
fn frame(bytes: &[u8]) -> Option<(FrameKind, &[u8], &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second {
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*length).into(), rest)
        }
        length => (length.into(), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    let kind = match first & 0x0f {
        1 => FrameKind::Text,
        8 => FrameKind::Close,
        9 => FrameKind::Ping,
        _ => FrameKind::Other,
    };
    Some((kind, payload, rest))
}

/// Returns the pong for a ping, masked with zeros.
fn pong(ping: &[u8]) -> Vec<u8> {
    let ping = &ping[..ping.len().min(125)];
    let length = u8::try_from(ping.len()).unwrap_or(125);
    [&[0x8a, 0x80 | length, 0, 0, 0, 0], ping].concat()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn text(payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap();
        match u8::try_from(payload.len()) {
            Ok(length) if length < 126 => [&[0x81, length], payload].concat(),
            _ => [&[0x81, 126], &length.to_be_bytes()[..], payload].concat(),
        }
    }

    #[tokio::test]
    async fn split_frames_are_reassembled_and_pings_answered() {
        let (stream, mut server) = tokio::io::duplex(1 << 20);
        let long = vec![b'x'; 1_000];
        let sent = [text(b"one"), text(&long), vec![0x89, 1, b'!'], text(b"two")].concat();
        let mut socket = WebSocket::new(Box::new(stream), sent[..7].to_vec());
        let mut texts = Vec::new();
        assert!(socket.read(|text| texts.push(text.to_vec())).await.unwrap());
        assert_eq!(texts, [b"one"]);
        for part in sent[7..].chunks(10) {
            server.write_all(part).await.unwrap();
            assert!(socket.read(|text| texts.push(text.to_vec())).await.unwrap());
        }
        assert_eq!(texts, [b"one".to_vec(), long, b"two".to_vec()]);
        let mut answer = [0; 7];
        server.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [0x8a, 0x81, 0, 0, 0, 0, b'!']);
        server.write_all(&[0x88, 0]).await.unwrap();
        assert!(!socket.read(|_| ()).await.unwrap());
    }
}
