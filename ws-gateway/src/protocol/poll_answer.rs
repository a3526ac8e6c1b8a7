//! The answer to a long poll.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{control_frame::Resume, position::Position};

/// The answer to a long poll.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PollAnswer {
    /// The notifications, in order.
    #[schemars(with = "Vec<serde_json::Value>")]
    frames: Vec<Box<RawValue>>,
    /// The position at which the next poll continues.
    #[schemars(with = "Position")]
    next: Option<Position>,
    /// Whether the client missed notifications.
    resume: Resume,
    /// How long to wait before the next poll, in milliseconds; if it is missing, poll at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    retry_after_ms: Option<u64>,
}

impl PollAnswer {
    /// Returns an answer with these frames. That of another publisher may be any text.
    pub(crate) fn new<'a>(
        frames: impl IntoIterator<Item = &'a str>,
        next: Option<Position>,
        resume: Resume,
        retry_after_ms: Option<u64>,
    ) -> Self {
        let frames = frames.into_iter().map(json).collect();
        Self { frames, next, resume, retry_after_ms }
    }
}

fn json(frame: &str) -> Box<RawValue> {
    let quoted = |_| to_raw_value(frame).expect("a string serialises");
    RawValue::from_string(frame.to_owned()).unwrap_or_else(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_not_json_becomes_a_string() {
        let answer = PollAnswer::new([r#"{"a":1}"#, "{not"], None, Resume::Complete, None);
        let expected = r#"{"frames":[{"a":1},"{not"],"next":null,"resume":"complete"}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), expected);
    }
}
