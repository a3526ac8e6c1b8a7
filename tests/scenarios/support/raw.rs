//! A connection without manners: the bytes are what the scenario says, and no library corrects
//! them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(20);

/// The largest answer that is read.
const MOST: usize = 1 << 20;

/// A TCP connection to a server.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What a WebSocket server sends, pings left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A text in one frame.
    Text(String),
    /// A pong.
    Pong(Vec<u8>),
    /// A close with its code, or 1005 without one.
    Close(u16),
    /// The connection has ended.
    End,
}

impl Raw {
    /// Connects.
    ///
    /// # Errors
    /// When the server does not accept.
    pub async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        Self::connect_from([127, 0, 0, 1], server).await
    }

    /// Connects from an address of ours.
    ///
    /// # Errors
    /// As [`Raw::connect`].
    pub async fn connect_from(address: [u8; 4], server: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((address, 0).into())?;
        let stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Connects and becomes a WebSocket, without a subprotocol.
    ///
    /// # Errors
    /// When the server does not switch protocols.
    pub async fn upgraded(server: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let mut raw = Self::connect(server).await?;
        raw.say(upgrade(&format!("/ws?token={token}")).as_bytes()).await?;
        let head = raw.head().await?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Ok(raw)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// The head of an answer in HTTP, with the empty line.
    ///
    /// # Errors
    /// When there is none.
    pub async fn head(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return Ok(String::from_utf8(head)?);
            }
            ensure!(self.more().await?, "ended before an answer: {:?}", self.read);
        }
    }

    /// Everything that is sent until the server hangs up.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn rest(&mut self) -> anyhow::Result<Vec<u8>> {
        // A reset is an end, too.
        while self.more().await.map_err(|error| error.context("not hung up"))? {}
        Ok(std::mem::take(&mut self.read))
    }

    /// What the WebSocket server says next.
    ///
    /// # Errors
    /// When it says nothing in time, or something that a server does not say.
    pub async fn heard(&mut self) -> anyhow::Result<Heard> {
        loop {
            while let Some((first, payload)) = take_frame(&mut self.read)? {
                return Ok(match first {
                    0x81 => Heard::Text(String::from_utf8(payload)?),
                    0x8a => Heard::Pong(payload),
                    0x88 => Heard::Close(match payload[..] {
                        [high, low, ..] => u16::from_be_bytes([high, low]),
                        _ => 1005,
                    }),
                    0x89 => continue,
                    other => anyhow::bail!("a frame that begins with {other:#x}"),
                });
            }
            if !self.more().await? {
                return Ok(Heard::End);
            }
        }
    }

    /// Reads on; returns whether there was more.
    async fn more(&mut self) -> anyhow::Result<bool> {
        ensure!(self.read.len() < MOST, "the server says too much");
        let mut part = [0; 4096];
        match timeout(LIMIT, self.stream.read(&mut part)).await.context("no answer")? {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.read.extend_from_slice(&part[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A request to become a WebSocket.
#[must_use]
pub fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A frame as a client sends it, masked; `first` is its first byte.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = head(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    // The mask stands between the length and what it masks.
    let at = frame.len() - payload.len();
    frame.splice(at..at, MASK);
    frame
}

/// The head of a masked frame that claims to be so long; the mask itself does not follow.
#[must_use]
pub fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        // The casts are in range.
        #[expect(clippy::cast_possible_truncation, reason = "at most 125")]
        0..126 => head.push(0x80 | length as u8),
        126..65_536 => {
            head.push(0x80 | 0x7e);
            head.extend_from_slice(&length.to_be_bytes()[6..]);
        }
        _ => {
            head.push(0x80 | 0x7f);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    head
}

/// The first frame, if it is there as a whole: its first byte and its payload.
fn take_frame(bytes: &mut Vec<u8>) -> anyhow::Result<Option<(u8, Vec<u8>)>> {
    let [first, short, ..] = bytes[..] else { return Ok(None) };
    ensure!(short & 0x80 == 0, "a masked frame of a server");
    let (length, at) = match (short, &bytes[2..]) {
        (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
        (126 | 127, _) => return Ok(None),
        (short, _) => (usize::from(short), 2),
    };
    if bytes.len() < at + length {
        return Ok(None);
    }
    let payload = bytes.drain(..at + length).skip(at).collect();
    Ok(Some((first, payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_masked_and_tells_its_length() {
        assert_eq!(frame(0x81, b"Hello")[..6], [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(frame(0x81, b"Hello")[6..], [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        assert_eq!(head(0x82, 126), [0x82, 0xfe, 0, 126]);
        assert_eq!(head(0x82, 65_536), [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn frames_are_taken_one_by_one() {
        let mut bytes = b"\x8a\x01x\x81\x7e\x00\x02hi\x88".to_vec();
        assert_eq!(take_frame(&mut bytes).unwrap(), Some((0x8a, b"x".to_vec())));
        assert_eq!(take_frame(&mut bytes).unwrap(), Some((0x81, b"hi".to_vec())));
        assert_eq!(take_frame(&mut bytes).unwrap(), None);
    }
}
