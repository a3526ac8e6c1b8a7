//! The end of a socket that the gateway closes: the last frames, then time for the client to
//! read them.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error as SocketError, Message, Utf8Bytes},
};

use crate::protocol::CloseReason;

/// How long a client has to take the last frames and to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);

/// Closes a socket: `state`, then the close frame, then nothing but waiting for the client to
/// hang up, within a time limit.
pub async fn close<S>(mut socket: WebSocketStream<S>, reason: CloseReason, state: Option<Utf8Bytes>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closing = async {
        if let Some(state) = state {
            socket.feed(Message::Text(state)).await?;
        }
        socket.send(Message::Close(Some(reason.frame()))).await?;
        // What the client has sent must be read, or the kernel would reset the connection, and
        // with it drop what the client has not read.
        while let Some(Ok(_)) = socket.next().await {}
        let stream = socket.get_mut();
        stream.shutdown().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, SocketError>(())
    };
    match timeout(TIMEOUT, closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::trace!(%error, "the client did not wait for the close frame"),
        Err(_) => tracing::trace!("the client did not answer the close frame"),
    }
}
