//! What the gateway itself says to a client.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use shared::time::TimestampSchema;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use super::position::Position;

shared::label! {
    /// Whether a client has, with the frames that follow, everything since its position.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum Resume as "resume" {
        /// The client named no position.
        None = "none",
        /// It has everything.
        Complete = "complete",
        /// That cannot be shown: what is left follows, and the client should reload.
        Incomplete = "incomplete",
    }
}

/// What a frame of the connection says.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The subscription stands. Sent first, and again with `incomplete` after a gap behind the
    /// gateway that could not be closed.
    Authenticated {
        /// Names the connection in logs.
        connection_id: Uuid,
        /// The newest position. A client that resumed takes its position from the frames it
        /// gets instead: they are still on their way.
        last_event_id: Position,
        /// Whether the client missed anything.
        resume: Resume,
        /// How often the gateway pings, in seconds.
        ping_interval_s: u64,
        /// When the gateway will close the connection unless it gets a new token.
        #[schemars(with = "TimestampSchema")]
        token_expires_at: Timestamp,
    },
    /// A new token was accepted.
    Connected {
        /// Names the connection in logs.
        connection_id: Uuid,
        /// When the new token expires.
        #[schemars(with = "TimestampSchema")]
        token_expires_at: Timestamp,
    },
    /// A close follows that the client should answer by reconnecting.
    Disconnected {
        /// Why.
        reason: &'static str,
        /// How long to wait before that.
        reconnect_after_ms: u64,
    },
    /// A message of the client was refused; the connection lives on.
    Error {
        /// For programs.
        error_code: &'static str,
        /// For people.
        message: &'static str,
    },
}

/// The `event` of every frame of the connection.
pub const STATE_EVENT: &str = "connection_state";

/// A frame of the connection.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StateFrame<'a> {
    /// Always [`STATE_EVENT`].
    event: &'static str,
    /// The gateway's time.
    #[schemars(with = "TimestampSchema")]
    timestamp: Timestamp,
    /// What it says.
    data: &'a State,
}

impl State {
    /// The text of the frame.
    ///
    /// # Panics
    /// Never: every field serialises.
    #[must_use]
    pub fn to_text(&self) -> Utf8Bytes {
        let frame = StateFrame { event: STATE_EVENT, timestamp: Timestamp::now(), data: self };
        serde_json::to_string(&frame).expect("a frame of the connection serialises").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_the_connection_names_its_state() {
        let state = State::Authenticated {
            connection_id: Uuid::nil(),
            last_event_id: Position::START,
            resume: Resume::Complete,
            ping_interval_s: 30,
            token_expires_at: Timestamp::UNIX_EPOCH,
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
            })
        );
    }
}
