//! A TCP connection on which a scenario sends any bytes, valid HTTP and WebSocket frames or not.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Longest wait for data.
const LIMIT: Duration = Duration::from_secs(20);

/// Most unread bytes that are buffered.
const MAX_BUFFERED: usize = 1 << 20;

/// A TCP connection to a server.
#[derive(Debug)]
pub struct RawSocket {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A frame from the server, pings left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame {
    /// An unfragmented text.
    Text(String),
    /// A pong.
    Pong(Vec<u8>),
    /// A close with its code, or 1005 without one.
    Close(u16),
    /// The TCP connection has ended.
    End,
}

impl RawSocket {
    /// Connects.
    ///
    /// # Errors
    /// When the connection is refused.
    pub async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        Self::connect_from([127, 0, 0, 1], server).await
    }

    /// Connects from a loopback address.
    ///
    /// # Errors
    /// As [`RawSocket::connect`].
    pub async fn connect_from(address: [u8; 4], server: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((address, 0).into())?;
        let stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Connects and upgrades to a WebSocket, without a subprotocol.
    ///
    /// # Errors
    /// When the server does not switch protocols.
    pub async fn connect_websocket(server: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let mut raw = Self::connect(server).await?;
        raw.send(upgrade_request(&format!("/ws?token={token}")).as_bytes()).await?;
        let head = raw.response_head().await?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "expected status 101, got {head}");
        Ok(raw)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Reads the head of an HTTP response, including the empty line.
    ///
    /// # Errors
    /// When the connection ends before it.
    pub async fn response_head(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.buffer.drain(..end + 4).collect();
                return Ok(String::from_utf8(head)?);
            }
            ensure!(self.more().await?, "closed before a response: {:?}", self.buffer);
        }
    }

    /// Reads until the server closes the connection.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn read_to_end(&mut self) -> anyhow::Result<Vec<u8>> {
        while self.more().await.context("the server did not close the connection")? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads the next frame.
    ///
    /// # Errors
    /// When none arrives in time, or it is not one that the gateway sends.
    pub async fn next_frame(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            while let Some((first, payload)) = take_frame(&mut self.buffer)? {
                return Ok(match first {
                    0x81 => ServerFrame::Text(String::from_utf8(payload)?),
                    0x8a => ServerFrame::Pong(payload),
                    0x88 => ServerFrame::Close(match payload[..] {
                        [high, low, ..] => u16::from_be_bytes([high, low]),
                        _ => 1005,
                    }),
                    0x89 => continue,
                    other => anyhow::bail!("unexpected first byte of a frame: {other:#x}"),
                });
            }
            if !self.more().await? {
                return Ok(ServerFrame::End);
            }
        }
    }

    /// Reads more bytes; returns whether the connection is still open. A reset ends it, too.
    async fn more(&mut self) -> anyhow::Result<bool> {
        ensure!(self.buffer.len() < MAX_BUFFERED, "the server sent more than {MAX_BUFFERED} bytes");
        let mut part = [0; 4096];
        match timeout(LIMIT, self.stream.read(&mut part)).await.context("no data")? {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.buffer.extend_from_slice(&part[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A WebSocket upgrade request.
#[must_use]
pub fn upgrade_request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked client frame; `first` is its first byte.
#[must_use]
pub fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = frame_header(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    // The mask is between the length and the payload.
    let at = frame.len() - payload.len();
    frame.splice(at..at, MASK);
    frame
}

/// The header of a masked frame with any claimed length, without the mask.
#[must_use]
pub fn frame_header(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
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

/// Takes the first frame, if complete: its first byte and its payload.
fn take_frame(bytes: &mut Vec<u8>) -> anyhow::Result<Option<(u8, Vec<u8>)>> {
    let [first, short, ..] = bytes[..] else { return Ok(None) };
    ensure!(short & 0x80 == 0, "the server masked a frame");
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
    fn client_frames_are_masked_and_carry_their_length() {
        assert_eq!(client_frame(0x81, b"Hello")[..6], [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(client_frame(0x81, b"Hello")[6..], [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        assert_eq!(frame_header(0x82, 126), [0x82, 0xfe, 0, 126]);
        assert_eq!(frame_header(0x82, 65_536), [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn frames_are_taken_one_at_a_time() {
        let mut bytes = b"\x8a\x01x\x81\x7e\x00\x02hi\x88".to_vec();
        assert_eq!(take_frame(&mut bytes).unwrap(), Some((0x8a, b"x".to_vec())));
        assert_eq!(take_frame(&mut bytes).unwrap(), Some((0x81, b"hi".to_vec())));
        assert_eq!(take_frame(&mut bytes).unwrap(), None);
    }
}
