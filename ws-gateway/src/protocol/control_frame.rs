//! Frames about the connection itself.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use shared::time::TimestampSchema;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use super::{position::Position, read_state::ReadSummary};

shared::label! {
    /// The result of a resume.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum Resume as "resume" {
        /// The client gave no position.
        None = "none",
        /// The client receives everything since its position.
        Complete = "complete",
        /// Notifications may be missing: the rest of the history follows, and the client should
        /// reload its data through the API.
        Incomplete = "incomplete",
    }
}

/// What a frame about the connection says.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The user is subscribed. It is the first frame, and is sent again with `incomplete` after a
    /// gap behind the gateway that could not be closed.
    Authenticated {
        /// The connection's id, as in the gateway's logs.
        connection_id: Uuid,
        /// The newest position. After a resume, a client uses the positions of the frames that
        /// follow instead.
        last_event_id: Position,
        /// Whether the client missed notifications.
        resume: Resume,
        /// The interval between pings of the gateway, in seconds.
        ping_interval_s: u64,
        /// When the token expires. The connection is closed soon after, unless it gets a new one.
        #[schemars(with = "TimestampSchema")]
        token_expires_at: Timestamp,
        /// What the user has read; absent after a gap, and if Redis does not return it in time.
        #[serde(flatten)]
        read: Option<ReadSummary>,
    },
    /// A new token was accepted.
    Connected {
        /// The connection's id, as in the gateway's logs.
        connection_id: Uuid,
        /// When the new token expires.
        #[schemars(with = "TimestampSchema")]
        token_expires_at: Timestamp,
    },
    /// The client's position has advanced over notifications that its filter held back, or that an
    /// incomplete resume reported as missed.
    Position {
        /// The position to resume from.
        last_event_id: Position,
    },
    /// The connection is about to be closed, and the client should reconnect.
    Disconnected {
        /// Why.
        reason: &'static str,
        /// How long to wait before reconnecting: 500 to 2,000 when the gateway restarts.
        reconnect_after_ms: u64,
    },
    /// A message of the client was refused; the connection stays open.
    Error {
        /// The error as a constant.
        error_code: &'static str,
        /// The error as a sentence.
        message: &'static str,
    },
}

/// The `event` of every frame about the connection.
pub const STATE_EVENT: &str = "connection_state";

/// A frame about the connection.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StateFrame<'a> {
    /// Always [`STATE_EVENT`].
    event: &'static str,
    /// The gateway's clock.
    #[schemars(with = "TimestampSchema")]
    timestamp: Timestamp,
    /// What the frame says.
    data: &'a State,
}

impl State {
    /// Returns the text of the frame.
    ///
    /// # Panics
    /// Never: every field serialises.
    #[must_use]
    pub(crate) fn to_text(&self) -> Utf8Bytes {
        let frame = StateFrame { event: STATE_EVENT, timestamp: Timestamp::now(), data: self };
        serde_json::to_string(&frame).expect("a frame about the connection serialises").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_about_the_connection_names_its_state() {
        let state = State::Authenticated {
            connection_id: Uuid::nil(),
            last_event_id: Position::START,
            resume: Resume::Complete,
            ping_interval_s: 30,
            token_expires_at: Timestamp::UNIX_EPOCH,
            read: ReadSummary::read(
                r#"{"up_to":"7-0","unread":3,"exact":true,"last_event_id":"9-0"}"#,
            ),
        };
        let frame: serde_json::Value = serde_json::from_str(&state.to_text()).unwrap();
        assert_eq!(frame["event"], "connection_state");
        assert_eq!(
            frame["data"],
            serde_json::json!({
                "state": "authenticated",
                "connection_id": "00000000-0000-0000-0000-000000000000",
                "last_event_id": "0-0",
                "resume": "complete",
                "ping_interval_s": 30,
                "token_expires_at": "1970-01-01T00:00:00Z",
                "read_up_to": "7-0",
                "unread": 3,
                "exact": true,
                "counted_to": "9-0",
            })
        );
    }
}
