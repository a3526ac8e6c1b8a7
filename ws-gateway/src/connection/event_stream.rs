//! A channel of Server-Sent Events: each frame is an event whose id is its position. The client
//! sends nothing back; that its socket takes what is written is its sign of life.

use std::{fmt::Write as _, mem, time::Duration};

use bytes::Bytes;
use serde::Serialize;
use tokio::{
    select,
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{
    channel::{Channel, Reconnect},
    close,
};
use crate::protocol::{CloseReason, Disconnect, Position, position_of};

/// The interval of comments, below the idle time-outs of proxies.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);

/// A line that clients ignore.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// The name of the last event, after which the gateway ends the stream.
const CLOSE_EVENT: &str = "close";

/// What the last event says, like a WebSocket's close frame.
#[derive(Debug, Serialize)]
struct Close<'a> {
    code: u16,
    reason: &'a str,
}

/// An event stream.
#[derive(Debug)]
pub(crate) struct EventStream {
    /// The body of the response, which holds one chunk that the socket has not taken.
    body: mpsc::Sender<Bytes>,
    comments: Interval,
    /// What the client has reached, and the last id that it was sent.
    position: Option<Position>,
    sent_position: Option<Position>,
    /// Whether the socket has taken a ping since the last call of `receive`.
    is_alive: bool,
}

impl EventStream {
    /// Returns a stream and the chunks of its body.
    #[must_use]
    pub(crate) fn new() -> (Self, mpsc::Receiver<Bytes>) {
        let (body, chunks) = mpsc::channel(1);
        // Shows a client at once that the network lets streams through.
        body.try_send(COMMENT).expect("the channel is empty");
        let mut comments = interval_at(Instant::now() + COMMENT_INTERVAL, COMMENT_INTERVAL);
        comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        (Self { body, comments, position: None, sent_position: None, is_alive: false }, chunks)
    }

    async fn send(&self, chunk: Bytes) -> Result<(), Disconnect> {
        self.body.send(chunk).await.map_err(|_| Disconnect::ByClient)
    }

    /// Returns the texts as events.
    fn events(&mut self, texts: &[Utf8Bytes]) -> String {
        let length: usize = texts.iter().map(|text| text.len() + 64).sum();
        let mut events = String::with_capacity(length);
        for text in texts {
            if let Some(position) = position_of(text) {
                push_id(&mut events, position);
                self.sent_position = Some(position);
            }
            push_data(&mut events, text);
        }
        if let Some(position) = self.position.filter(|_| self.position != self.sent_position) {
            // An id without data is no event; the client keeps it.
            push_id(&mut events, position);
            events.push('\n');
            self.sent_position = Some(position);
        }
        events
    }
}

impl Channel for EventStream {
    async fn receive(&mut self) -> Result<Message, Disconnect> {
        if mem::take(&mut self.is_alive) {
            return Ok(Message::Pong(Bytes::new()));
        }
        select! {
            () = self.body.closed() => Err(Disconnect::ByClient),
            _ = self.comments.tick() => {
                self.send(COMMENT).await?;
                Ok(Message::Pong(Bytes::new()))
            }
        }
    }

    async fn write(&mut self, texts: Vec<Utf8Bytes>, _: &mut bool) -> Result<(), Disconnect> {
        let events = self.events(&texts);
        if events.is_empty() { Ok(()) } else { self.send(events.into()).await }
    }

    async fn ping(&mut self) -> Result<(), Disconnect> {
        self.send(COMMENT).await?;
        self.is_alive = true;
        Ok(())
    }

    fn set_position(&mut self, position: Position) {
        self.position = Some(position);
    }

    async fn close(self, end: Disconnect, reconnect: Option<Reconnect>) {
        let Disconnect::ByGateway(reason) = end else { return };
        let mut events = String::new();
        if let Some(reconnect) = reconnect {
            writeln!(events, "retry: {}", reconnect.after_ms()).expect("a string has room");
            push_data(&mut events, &reconnect.to_text());
        }
        let close = reason.frame();
        let close = Close { code: reason.code(), reason: &close.reason };
        let close = serde_json::to_string(&close).expect("a number and a string serialise");
        writeln!(events, "event: {CLOSE_EVENT}").expect("a string has room");
        push_data(&mut events, &close);
        let limit = match reason {
            CloseReason::Restarting => close::TIMEOUT,
            _ => close::SLOW_CLIENT_TIMEOUT,
        };
        drop(timeout(limit, self.send(events.into())).await);
    }
}

fn push_id(events: &mut String, position: Position) {
    writeln!(events, "id: {position}").expect("a string has room");
}

/// Appends one event. A text of another publisher may have several lines.
fn push_data(events: &mut String, text: &str) {
    for line in text.split(['\n', '\r']) {
        events.push_str("data: ");
        events.push_str(line);
        events.push('\n');
    }
    events.push('\n');
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn position(text: &str) -> Position {
        text.parse().unwrap()
    }

    /// Returns a stream whose first comment was sent.
    async fn opened() -> (EventStream, mpsc::Receiver<Bytes>) {
        let (stream, mut chunks) = EventStream::new();
        assert_eq!(chunks.recv().await.unwrap(), COMMENT);
        (stream, chunks)
    }

    #[tokio::test]
    async fn a_frame_is_an_event_with_its_position_as_id() {
        let (mut stream, mut chunks) = opened().await;
        stream.set_position(position("7-0"));
        let texts = vec![r#"{"id":"7-0","event":"e"}"#.into(), "{\"event\":\"x\"\n}".into()];
        stream.write(texts, &mut false).await.unwrap();
        let expected = "id: 7-0\ndata: {\"id\":\"7-0\",\"event\":\"e\"}\n\n\
                        data: {\"event\":\"x\"\ndata: }\n\n";
        assert_eq!(chunks.recv().await.unwrap(), expected);
    }

    #[tokio::test]
    async fn the_id_advances_over_frames_that_were_not_sent() {
        let (mut stream, mut chunks) = opened().await;
        stream.set_position(position("9-0"));
        stream.write(vec![r#"{"event":"connection_state"}"#.into()], &mut false).await.unwrap();
        let chunk = chunks.recv().await.unwrap();
        assert_eq!(chunk, "data: {\"event\":\"connection_state\"}\n\nid: 9-0\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_every_15_s_is_a_sign_of_life_once_the_socket_has_taken_it() {
        let (mut stream, mut chunks) = opened().await;
        let start = Instant::now();
        assert_eq!(stream.receive().await, Ok(Message::Pong(Bytes::new())));
        assert_eq!((start.elapsed(), chunks.recv().await.unwrap()), (COMMENT_INTERVAL, COMMENT));
        // The body has room for one chunk.
        stream.ping().await.unwrap();
        assert_eq!(stream.receive().await, Ok(Message::Pong(Bytes::new())));
        tokio::time::advance(COMMENT_INTERVAL).await;
        assert_eq!(stream.receive().now_or_never(), None);
        drop(chunks);
        assert_eq!(stream.receive().await, Err(Disconnect::ByClient));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_event_waits_as_long_as_the_close_frame_of_a_slow_websocket() {
        let (mut stream, mut chunks) = opened().await;
        stream.ping().await.unwrap();
        let closed = tokio::spawn(stream.close(Disconnect::ByGateway(CloseReason::Revoked), None));
        tokio::time::sleep(4 * close::TIMEOUT).await;
        assert_eq!(chunks.recv().await.unwrap(), COMMENT);
        let chunk = chunks.recv().await.expect("the last event");
        assert!(chunk.starts_with(b"event: close\n"), "{chunk:?}");
        closed.await.unwrap();
    }

    #[tokio::test]
    async fn the_last_event_has_a_close_code_and_the_delay_until_a_reconnect() {
        let (stream, mut chunks) = opened().await;
        let reason = CloseReason::Restarting;
        let reconnect = Reconnect { reason: "restarting", after: Duration::from_millis(700) };
        stream.close(Disconnect::ByGateway(reason), Some(reconnect)).await;
        let chunk = chunks.recv().await.unwrap();
        let text = str::from_utf8(&chunk).unwrap();
        assert!(text.starts_with("retry: 700\ndata: {\"event\":\"connection_state\""), "{text}");
        let close = "event: close\ndata: {\"code\":1012,\"reason\":\"restarting: reconnect\"}\n\n";
        assert!(text.ends_with(close), "{text}");
        assert_eq!(chunks.recv().await, None);
    }
}
