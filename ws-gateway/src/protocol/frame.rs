//! One text on its way to the sockets of a user. What the gateway must know of it is read from
//! its first bytes; it is never parsed here, and never copied.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::position::Position;

/// How far into a text the priority is looked for: it follows id, event and category.
const PRIORITY_WITHIN: usize = 256;

/// Comes before the priority. Inside a JSON string its quotes would be escaped.
const PRIORITY: &str = ",\"priority\":\"";

/// Comes before the place in a trace, which follows the timestamp.
const TRACE: &str = ",\"trace\":\"";

/// How far into a text it is looked for.
const TRACE_WITHIN: usize = 512;

/// Comes after the priority.
const TIMESTAMP: &str = ",\"timestamp\":\"";

/// A text to forward. Cheap to clone: all sockets share one copy of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What is sent.
    pub text: Utf8Bytes,
    /// Its place in the user's stream; none for a frame of another publisher.
    pub position: Option<Position>,
    /// Whether it may wait a little to share a write with others.
    pub low_priority: bool,
    /// When the event behind it happened, as its producer says.
    pub event_time: Option<SystemTime>,
    /// Only if traces are made.
    pub trace_context: Option<Box<TraceContext>>,
}

/// What a trace of the way to the sockets begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Where the work stands that the frame comes from, as it says.
    pub parent: Box<str>,
    /// When it came from Redis.
    pub received_at: SystemTime,
}

impl Frame {
    /// A text as it was published on a user's channel. Only `{"id":"<position>",` right at its
    /// start makes it a notification; everything else passes as it is.
    #[must_use]
    pub fn published(text: Utf8Bytes) -> Self {
        let position = position_of(&text);
        let Head { low_priority, event_time } =
            position.map_or_else(Head::default, |_| Head::of(&text));
        Self { text, position, low_priority, event_time, trace_context: None }
    }

    /// Notes when it came, if it says where it stands in a trace.
    pub fn read_trace_context(&mut self, received_at: SystemTime) {
        let head = &self.text.as_bytes()[..self.text.len().min(TRACE_WITHIN)];
        let at = head.windows(TRACE.len()).position(|window| window == TRACE.as_bytes());
        let rest = at.and_then(|at| self.text[at + TRACE.len()..].split_once('"'));
        self.trace_context =
            rest.map(|(parent, _)| Box::new(TraceContext { parent: parent.into(), received_at }));
    }

    /// A notification as it stands in the stream, which lacks the id; none if it is no object.
    #[must_use]
    pub fn stored(position: Position, notification: &str) -> Option<Self> {
        let rest = notification.strip_prefix('{')?;
        let text = format!("{{\"id\":\"{position}\",{rest}");
        let Head { low_priority, event_time } = Head::of(&text);
        let position = Some(position);
        Some(Self { text: text.into(), position, low_priority, event_time, trace_context: None })
    }
}

fn position_of(text: &str) -> Option<Position> {
    let rest = text.strip_prefix("{\"id\":\"")?;
    let (id, rest) = rest.split_once('"')?;
    if rest.starts_with(',') { id.parse().ok() } else { None }
}

/// What the first keys of a notification say.
#[derive(Debug, Default)]
struct Head {
    low_priority: bool,
    event_time: Option<SystemTime>,
}

impl Head {
    fn of(text: &str) -> Self {
        let head = &text.as_bytes()[..text.len().min(PRIORITY_WITHIN)];
        let at = head.windows(PRIORITY.len()).position(|window| window == PRIORITY.as_bytes());
        let rest = at.and_then(|at| text[at + PRIORITY.len()..].split_once('"'));
        let Some((priority, rest)) = rest else { return Self::default() };
        let time = rest.strip_prefix(TIMESTAMP).and_then(|rest| rest.split_once('"'));
        let event_time = time.and_then(|(time, _)| parse(time));
        Self { low_priority: priority == "low", event_time }
    }
}

fn parse(time: &str) -> Option<SystemTime> {
    time.parse::<Timestamp>().ok()?.try_into().ok()
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
    fn the_time_of_the_event_is_read_from_its_own_key() {
        let head = r#"{"id":"1-0","event":"e","category":"c","priority":"low""#;
        let time = |rest: &str| Frame::published(format!("{head},{rest}").into()).event_time;
        let expected = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1500);
        assert_eq!(time(r#""timestamp":"1970-01-01T00:00:01.5Z","data":{}}"#), Some(expected));
        for none in [r#""timestamp":"soon"}"#, r#""timestamp":7}"#, r#""data":{}}"#] {
            assert_eq!(time(none), None, "{none}");
        }
    }

    #[test]
    fn the_place_in_a_trace_is_found_behind_the_timestamp() {
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
