//! The client's end of a WebSocket, as lean as it can be: what is measured is the gateway, and
//! the tester runs on the same machine. All sockets of a thread read into one buffer.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// What a WebSocket may go over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How much is read at once at most.
const READ: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// An open WebSocket.
pub struct Wire {
    stream: Box<dyn Stream>,
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
    /// Whether it holds whole frames, too: what came with the handshake.
    has_whole: bool,
    /// What the last ping said, until it is answered.
    ping: Option<Vec<u8>>,
    closed: bool,
}

impl Wire {
    /// A WebSocket after its handshake, and what has already been read of it.
    #[must_use]
    pub fn new(stream: Box<dyn Stream>, rest: Vec<u8>) -> Self {
        let has_whole = frame(&rest).is_some();
        Self { stream, rest, has_whole, ping: None, closed: false }
    }

    /// Reads what is there, waiting for something, and hands over each text: of one that comes in
    /// several frames, the first. Returns whether there will be more.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn read(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        if self.has_whole {
            self.has_whole = false;
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
                Kind::Text => take(payload),
                Kind::Ping => self.ping = Some(payload.to_vec()),
                Kind::Close => self.closed = true,
                Kind::Other => {}
            }
            bytes = rest;
        }
        self.rest = bytes.to_vec();
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("closed", &self.closed).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Ping,
    Close,
    Other,
}

/// The first frame, as servers send them, and what follows it; none if it is not whole.
fn frame(bytes: &[u8]) -> Option<(Kind, &[u8], &[u8])> {
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
        1 => Kind::Text,
        8 => Kind::Close,
        9 => Kind::Ping,
        _ => Kind::Other,
    };
    Some((kind, payload, rest))
}

/// The answer to a ping. Its mask is zeros, which leave it as it is.
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
    async fn texts_are_read_however_they_are_cut_and_a_ping_is_answered() {
        let (stream, mut server) = tokio::io::duplex(1 << 20);
        let long = vec![b'x'; 1_000];
        let sent = [text(b"one"), text(&long), vec![0x89, 1, b'!'], text(b"two")].concat();
        let mut wire = Wire::new(Box::new(stream), sent[..7].to_vec());
        let mut texts = Vec::new();
        assert!(wire.read(|text| texts.push(text.to_vec())).await.unwrap());
        assert_eq!(texts, [b"one"]);
        for part in sent[7..].chunks(10) {
            server.write_all(part).await.unwrap();
            assert!(wire.read(|text| texts.push(text.to_vec())).await.unwrap());
        }
        assert_eq!(texts, [b"one".to_vec(), long, b"two".to_vec()]);
        let mut answer = [0; 7];
        server.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [0x8a, 0x81, 0, 0, 0, 0, b'!']);
        server.write_all(&[0x88, 0]).await.unwrap();
        assert!(!wire.read(|_| ()).await.unwrap());
    }
}
