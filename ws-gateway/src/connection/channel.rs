//! What carries frames to a client, and the client's messages back: a WebSocket, an event stream,
//! or the response to a long poll.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use shared::time::millis;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, Utf8Bytes},
};

use super::{close, transport::Transport, wire};
use crate::{
    hub::outbox::{Outbox, socket_writer::SocketWriter},
    protocol::{CloseReason, Disconnect, Position, ReadSummary, Resume, State},
};

/// A channel to one client.
///
/// An error of any method is how the connection ends. [`Channel::receive`] may be cancelled without
/// a loss; after a cancelled [`Channel::write`] only [`Channel::close`] is called.
pub trait Channel: Send + 'static {
    /// Returns what writes frames in addition to the connection's task; none if only the task can.
    fn writer(&self) -> Option<Arc<dyn SocketWriter>> {
        None
    }

    /// Records in `outbox` when a write that had to wait for the client proceeds.
    fn watch(&mut self, _: Outbox) {}

    /// Waits for a message of the client. A channel without messages returns a pong when the client
    /// has shown that it is there.
    fn receive(&mut self) -> impl Future<Output = Result<Message, Disconnect>> + Send;

    /// Sends texts, and everything buffered before. `in_fragments` is true while a text is sent in
    /// part.
    fn write(
        &mut self,
        texts: Vec<Utf8Bytes>,
        in_fragments: &mut bool,
    ) -> impl Future<Output = Result<(), Disconnect>> + Send;

    /// Buffers a ping.
    fn ping(&mut self) -> impl Future<Output = Result<(), Disconnect>> + Send;

    /// Records the result of the client's resume, before the texts that follow from it are written.
    fn set_resume(&mut self, _: Resume) {}

    /// Records what the user has read, before the first texts are written.
    fn set_read_state(&mut self, _: &ReadSummary) {}

    /// Records the position that the client has reached once the next texts are written.
    fn set_position(&mut self, _: Position) {}

    /// Ends the channel, and says when to reconnect, if the client should.
    fn close(
        self,
        end: Disconnect,
        reconnect: Option<Reconnect>,
    ) -> impl Future<Output = ()> + Send;
}

/// When a client should reconnect.
#[derive(Clone, Copy, Debug)]
pub struct Reconnect {
    /// Why the connection ends.
    pub(crate) reason: &'static str,
    /// The delay.
    pub(crate) after: Duration,
}

impl Reconnect {
    pub(crate) fn after_ms(self) -> u64 {
        millis(self.after)
    }

    /// Returns the last frame of the connection.
    pub(super) fn to_text(self) -> Utf8Bytes {
        let reconnect_after_ms = self.after_ms();
        State::Disconnected { reason: self.reason, reconnect_after_ms }.to_text()
    }
}

impl<S: Transport> Channel for WebSocketStream<S> {
    fn writer(&self) -> Option<Arc<dyn SocketWriter>> {
        self.get_ref().writer()
    }

    fn watch(&mut self, outbox: Outbox) {
        self.get_mut().watch(outbox);
    }

    async fn receive(&mut self) -> Result<Message, Disconnect> {
        match self.next().await {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(wire::end_after(&error)),
            None => Err(Disconnect::ByClient),
        }
    }

    async fn write(
        &mut self,
        texts: Vec<Utf8Bytes>,
        in_fragments: &mut bool,
    ) -> Result<(), Disconnect> {
        let written = wire::write(self, texts, in_fragments).await;
        written.map_err(|error| wire::end_after(&error))
    }

    async fn ping(&mut self) -> Result<(), Disconnect> {
        let ping = Message::Ping(Vec::new().into());
        self.feed(ping).await.map_err(|_| Disconnect::ByClient)
    }

    async fn close(mut self, end: Disconnect, reconnect: Option<Reconnect>) {
        match end {
            Disconnect::ByGateway(reason) => {
                let limit = match reason {
                    CloseReason::TooSlow => close::SLOW_CLIENT_TIMEOUT,
                    _ => close::TIMEOUT,
                };
                let state = reconnect.map(Reconnect::to_text);
                close::close_within(limit, self, reason.frame(), state).await;
            }
            // Sends the reply to the client's close frame.
            Disconnect::ByClient | Disconnect::Answered => {
                drop(timeout(close::TIMEOUT, self.flush()).await);
            }
        }
    }
}
