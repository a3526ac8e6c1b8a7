//! One text on its way to the sockets of a user. What the gateway must know of it is read from
//! its first bytes; it is never parsed here, and never copied.

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::position::Position;

/// How far into a text the priority is looked for: it follows id, event and category.
const PRIORITY_WITHIN: usize = 256;

/// Comes before the priority. Inside a JSON string its quotes would be escaped.
const PRIORITY: &[u8] = b",\"priority\":\"";

/// A text to forward. Cheap to clone: all sockets share one copy of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What is sent.
    pub text: Utf8Bytes,
    /// Its place in the user's stream; none for a frame of another publisher.
    pub position: Option<Position>,
    /// Whether it may wait a little to share a write with others.
    pub may_wait: bool,
}

impl Frame {
    /// A text as it was published on a user's channel. Only `{"id":"<position>",` right at its
    /// start makes it a notification; everything else passes as it is.
    #[must_use]
    pub fn published(text: Utf8Bytes) -> Self {
        let position = position_of(&text);
        let may_wait = position.is_some() && has_low_priority(&text);
        Self { text, position, may_wait }
    }

    /// A notification as it stands in the stream, which lacks the id; none if it is no object.
    #[must_use]
    pub fn stored(position: Position, notification: &str) -> Option<Self> {
        let rest = notification.strip_prefix('{')?;
        let text = format!("{{\"id\":\"{position}\",{rest}");
        Some(Self {
            may_wait: has_low_priority(&text),
            text: text.into(),
            position: Some(position),
        })
    }
}

fn position_of(text: &str) -> Option<Position> {
    let rest = text.strip_prefix("{\"id\":\"")?;
    let (id, rest) = rest.split_once('"')?;
    if rest.starts_with(',') { id.parse().ok() } else { None }
}

fn has_low_priority(text: &str) -> bool {
    let head = &text.as_bytes()[..text.len().min(PRIORITY_WITHIN)];
    head.windows(PRIORITY.len())
        .position(|window| window == PRIORITY)
        .is_some_and(|at| head[at + PRIORITY.len()..].starts_with(b"low\""))
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
    fn only_a_notification_of_low_priority_may_wait() {
        for (text, may_wait) in [
            (r#"{"id":"1-0","event":"e","category":"c","priority":"low","data":{}}"#, true),
            (r#"{"id":"1-0","event":"e","category":"c","priority":"high","data":{}}"#, false),
            (r#"{"id":"1-0","event":"\",\"priority\":\"low\"","priority":"high"}"#, false),
            (r#"{"event":"e","category":"c","priority":"low","data":{}}"#, false),
        ] {
            assert_eq!(Frame::published(text.into()).may_wait, may_wait, "{text}");
        }
    }
}
