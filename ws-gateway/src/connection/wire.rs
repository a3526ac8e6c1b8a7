//! The socket: buffer sizes, fragmentation of long texts, and the meaning of socket errors.

use futures_util::SinkExt;
use smallvec::SmallVec;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{
    Bytes, Error as SocketError, Message, Utf8Bytes,
    error::ProtocolError,
    protocol::{
        WebSocketConfig,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use super::transport::Transport;
use crate::{
    hub::outbox::socket_writer::{INLINE_FRAMES, MAX_FRAMES},
    protocol::{CloseReason, Disconnect},
};

/// The maximum payload of a frame, in bytes: longer texts are fragmented, so that the write buffer
/// stays small.
const FRAGMENT: usize = 32 << 10;

/// Returns buffer sizes for many idle sockets: the defaults take 136 KiB per socket. A connection
/// keeps its read buffer; clients send little more than pongs.
#[must_use]
pub fn socket_config(max_message_size: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(128)
        .write_buffer_size(4096)
        .max_write_buffer_size(64 << 10)
        .max_message_size(Some(max_message_size))
        .max_frame_size(Some(max_message_size))
}

/// Writes all texts with one flush. `in_fragments` is true while a text is sent in part.
pub(super) async fn write<S: Transport>(
    socket: &mut WebSocketStream<S>,
    texts: Vec<Utf8Bytes>,
    in_fragments: &mut bool,
) -> Result<(), SocketError> {
    let written = write_unbuffered(socket.get_ref(), &texts);
    for text in texts.into_iter().skip(written) {
        if text.len() <= FRAGMENT {
            socket.feed(Message::Text(text)).await?;
            continue;
        }
        *in_fragments = true;
        for fragment in fragments(text.into()) {
            socket.feed(Message::Frame(fragment)).await?;
        }
        *in_fragments = false;
    }
    socket.flush().await
}

/// Writes texts without the socket's write buffer, which never shrinks. Returns how many the stream
/// has taken. Only a pong may be in the buffer: it is sent after the texts.
fn write_unbuffered<S: Transport>(stream: &S, texts: &[Utf8Bytes]) -> usize {
    let Some(writer) = stream.writer() else { return 0 };
    let texts: SmallVec<[&str; INLINE_FRAMES]> = texts
        .iter()
        .map(Utf8Bytes::as_str)
        .take_while(|text| text.len() <= FRAGMENT)
        .take(MAX_FRAMES)
        .collect();
    if texts.is_empty() { 0 } else { writer.try_write(&texts).frames }
}

fn fragments(mut rest: Bytes) -> impl Iterator<Item = Frame> {
    let mut kind = Data::Text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = rest.split_to(rest.len().min(FRAGMENT));
        let kind = std::mem::replace(&mut kind, Data::Continue);
        Some(Frame::message(part, OpCode::Data(kind), rest.is_empty()))
    })
}

/// Returns how a connection ends after an error of its socket.
pub(super) fn end_after(error: &SocketError) -> Disconnect {
    match error {
        SocketError::Capacity(_) => Disconnect::ByGateway(CloseReason::TooBig),
        SocketError::Utf8(_) => Disconnect::ByGateway(CloseReason::BadUtf8),
        SocketError::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => Disconnect::ByClient,
        SocketError::Protocol(_) | SocketError::AttackAttempt => {
            Disconnect::ByGateway(CloseReason::Protocol)
        }
        _ => Disconnect::ByClient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragments_of_a_long_text_add_up_to_it() {
        let text = Bytes::from("å".repeat(FRAGMENT));
        let frames: Vec<Frame> = fragments(text.clone()).collect();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].header().opcode, OpCode::Data(Data::Text));
        assert_eq!(frames[1].header().opcode, OpCode::Data(Data::Continue));
        assert!(!frames[0].header().is_final && frames[1].header().is_final);
        let whole: Vec<u8> = frames.iter().flat_map(|frame| frame.payload().to_vec()).collect();
        assert_eq!(whole, text);
    }
}
