//! A frame for the sockets of a user. The few fields that the gateway needs are read from the
//! first bytes; the text is neither parsed nor copied.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    time::SystemTime,
};

use foldhash::quality::FixedState;
use memchr::memchr;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{position::Position, read_state::READ_STATE_HEAD};

/// A text to forward. Cheap to clone: all sockets share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The text that is sent.
    pub text: Utf8Bytes,
    /// The position in the user's stream; none for a frame of another publisher.
    pub position: Option<Position>,
    /// Whether it may wait to share a write with other frames.
    pub low_priority: bool,
    /// Whether it is a read state, which only clients that negotiated it are sent.
    pub(crate) is_read_state: bool,
    /// Whether it may have been published before under another id.
    pub(crate) is_restored: bool,
    /// A hash of the notification without its id; none for a frame of another publisher.
    pub(crate) content_hash: Option<u64>,
    /// Present if deliveries are traced.
    pub(crate) trace_context: Option<Box<TraceContext>>,
}

/// The start of a trace of the delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// The traceparent in the frame.
    pub(crate) parent: Box<str>,
    /// When it was received from Redis.
    pub(crate) received_at: SystemTime,
}

impl Frame {
    /// Returns the frame of a text that was published on a user's channel. Only a text that begins
    /// with `{"id":"<position>",` has a position; any other is forwarded unchanged.
    #[must_use]
    pub fn published(text: Utf8Bytes) -> Self {
        let (position, rest) = split_position(&text).unzip();
        let head = rest.and_then(Head::of);
        let low_priority = head.as_ref().is_some_and(Head::is_low_priority);
        let is_read_state = text.starts_with(READ_STATE_HEAD);
        let is_restored = head.as_ref().is_some_and(|head| head.is_restored);
        let content_hash = head.as_ref().and_then(Head::content_hash);
        Self {
            text,
            position,
            low_priority,
            is_read_state,
            is_restored,
            content_hash,
            trace_context: None,
        }
    }

    /// Reads the trace context, if the frame has one.
    pub(crate) fn read_trace_context(&mut self, received_at: SystemTime) {
        let head = split_position(&self.text).and_then(|(_, rest)| Head::of(rest));
        let parent = head.and_then(|head| head.trace);
        self.trace_context =
            parent.map(|parent| Box::new(TraceContext { parent: parent.into(), received_at }));
    }

    /// Returns the frame of a stream entry, which has no id; none if it is not an object.
    #[must_use]
    pub fn stored(position: Position, notification: &str) -> Option<Self> {
        let rest = notification.strip_prefix('{')?;
        Some(Self::published(format!("{{\"id\":\"{position}\",{rest}").into()))
    }
}

/// Returns the position that a text begins with.
pub(crate) fn position_of(text: &str) -> Option<Position> {
    split_position(text).map(|(position, _)| position)
}

/// Returns the position that a text begins with, and the fields after it.
fn split_position(text: &str) -> Option<(Position, &str)> {
    let (position, rest) = Position::split_from(text.strip_prefix("{\"id\":\"")?)?;
    let rest = rest.strip_prefix('"')?;
    rest.starts_with(',').then_some((position, rest))
}

/// Marks a notification that was published before under another id, which Redis has lost.
const RESTORED: &str = ",\"restored\":true";

/// The first fields of a notification after its id, in the order in which they are written. A
/// text in another order has none.
#[derive(Debug)]
struct Head<'a> {
    is_restored: bool,
    /// What a notification has in common with the same one under another id.
    content: &'a str,
    priority: &'a str,
    has_time: bool,
    /// The W3C traceparent.
    trace: Option<&'a str>,
}

impl<'a> Head<'a> {
    fn of(fields: &'a str) -> Option<Self> {
        let restored = fields.strip_prefix(RESTORED);
        let content = restored.unwrap_or(fields);
        let (_, rest) = field(content, ",\"event\":\"")?;
        let (_, rest) = field(rest, ",\"category\":\"")?;
        let (priority, rest) = field(rest, ",\"priority\":\"")?;
        let timestamp = field(rest, ",\"timestamp\":\"");
        let trace = timestamp.and_then(|(_, rest)| field(rest, ",\"trace\":\""));
        Some(Self {
            is_restored: restored.is_some(),
            content,
            priority,
            has_time: timestamp.is_some(),
            trace: trace.map(|(value, _)| value),
        })
    }

    fn is_low_priority(&self) -> bool {
        self.priority == "low"
    }

    /// Returns a hash of the content without the trace context, which belongs to the delivery. None
    /// without a time, which every worker writes.
    fn content_hash(&self) -> Option<u64> {
        if !self.has_time {
            return None;
        }
        let mut hasher = FixedState::default().build_hasher();
        if let Some((before, after)) = self.trace.and_then(|trace| self.content.split_once(trace)) {
            hasher.write(before.as_bytes());
            hasher.write(after.as_bytes());
        } else {
            hasher.write(self.content.as_bytes());
        }
        Some(hasher.finish())
    }
}

/// Returns the text value of the key that `text` begins with, and what follows it.
fn field<'a>(text: &'a str, key: &str) -> Option<(&'a str, &'a str)> {
    let rest = text.strip_prefix(key)?;
    let end = memchr(b'"', rest.as_bytes())?;
    Some((&rest[..end], &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_read_from_the_start_of_the_text_and_nowhere_else() {
        let frame = Frame::published(r#"{"id":"12-3","event":"class_created"}"#.into());
        assert_eq!(frame.position, Some("12-3".parse().unwrap()));
        for foreign in [
            r#"{"event":"x","data":{}}"#,
            r#"{"event":"x","id":"12-3"}"#,
            r#"{ "id":"12-3","event":"x"}"#,
            r#"{"id":"12-3"}"#,
            r#"{"id":"12","event":"x"}"#,
            r#"{"id":12,"event":"x"}"#,
            "{\"id\":\"12-3",
            "not JSON",
            "",
        ] {
            assert_eq!(Frame::published(foreign.into()).position, None, "{foreign}");
        }
    }

    #[test]
    fn a_stored_notification_becomes_the_text_that_was_published() {
        let stored = r#"{"event":"e","category":"c","priority":"low","data":{}}"#;
        let published = r#"{"id":"12-3","event":"e","category":"c","priority":"low","data":{}}"#;
        let frame = Frame::stored("12-3".parse().unwrap(), stored).unwrap();
        assert_eq!(frame, Frame::published(published.into()));
        assert_eq!(Frame::stored(Position::START, "[]"), None);
    }

    #[test]
    fn the_traceparent_is_found_after_the_timestamp() {
        let text = r#"{"id":"1-0","event":"e","category":"c","priority":"low","timestamp":"t","trace":"00-1-2-01","user_id":"u"}"#;
        let mut frame = Frame::published(text.into());
        assert_eq!(frame.trace_context, None);
        frame.read_trace_context(SystemTime::UNIX_EPOCH);
        assert_eq!(&*frame.trace_context.unwrap().parent, "00-1-2-01");
        let mut untraced = Frame::published(r#"{"id":"1-0","event":"\",\"trace\":\"x\""}"#.into());
        untraced.read_trace_context(SystemTime::UNIX_EPOCH);
        assert_eq!(untraced.trace_context, None);
    }

    #[test]
    fn only_a_notification_of_low_priority_may_wait() {
        for (text, low_priority) in [
            (r#"{"id":"1-0","event":"e","category":"c","priority":"low","data":{}}"#, true),
            (r#"{"id":"1-0","event":"e","category":"c","priority":"high","data":{}}"#, false),
            (r#"{"id":"1-0","event":"\",\"priority\":\"low\"","priority":"high"}"#, false),
            (r#"{"event":"e","category":"c","priority":"low","data":{}}"#, false),
        ] {
            assert_eq!(Frame::published(text.into()).low_priority, low_priority, "{text}");
        }
    }
}
