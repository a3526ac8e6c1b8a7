//! The closing handshake: the last frames, then time for the client to read them.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error as SocketError, Message, Utf8Bytes, protocol::CloseFrame},
};
use tracing::trace;

/// How long a client has to read the last frames and to reply.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);

/// The same for a client that is too slow, and for an event stream: the close frame or event waits
/// behind what the client has not read yet, up to the size of both sides' socket buffers.
pub(super) const SLOW_CLIENT_TIMEOUT: Duration = Duration::from_secs(15);

/// Sends the close frame and waits within a time limit for the client to close.
pub(crate) async fn close<S>(socket: WebSocketStream<S>, frame: CloseFrame)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    close_within(TIMEOUT, socket, frame, None).await;
}

/// Sends `state` and the close frame, then waits at most `limit` for the client to close.
pub(super) async fn close_within<S>(
    limit: Duration,
    mut socket: WebSocketStream<S>,
    frame: CloseFrame,
    state: Option<Utf8Bytes>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closing = async {
        if let Some(state) = state {
            socket.feed(Message::Text(state)).await?;
        }
        socket.send(Message::Close(Some(frame))).await?;
        // What the client has sent must be read: with unread data the kernel resets the
        // connection, and the client loses the close frame.
        while let Some(Ok(_)) = socket.next().await {}
        let stream = socket.get_mut();
        stream.shutdown().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, SocketError>(())
    };
    match timeout(limit, closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => trace!(%error, "client left before the close frame"),
        Err(_) => trace!("client did not reply to the close frame"),
    }
}
