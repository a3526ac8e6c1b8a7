//! What the gateway itself says to a client and understands from one: the frames of the
//! connection, the messages of a client, and the close codes. The only list of each.

mod close;

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::time::WrittenTime;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use crate::position::Position;
pub use close::{CloseReason, Remedy};

/// The subprotocol of clients that understand frames of the connection.
pub const SUBPROTOCOL: &str = "huleedu.v1";

/// Starts the subprotocol entry that carries a token.
pub const TOKEN_SUBPROTOCOL_PREFIX: &str = "huleedu.token.";

/// The answer to `{"type":"ping"}`.
pub const PONG: Utf8Bytes = Utf8Bytes::from_static(r#"{"type":"pong"}"#);

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
        #[schemars(with = "WrittenTime")]
        token_expires_at: Timestamp,
    },
    /// A new token was accepted.
    Connected {
        /// Names the connection in logs.
        connection_id: Uuid,
        /// When the new token expires.
        #[schemars(with = "WrittenTime")]
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
    #[schemars(with = "WrittenTime")]
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

/// What a client may say. Anything else is ignored and counted.
#[derive(Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientMessage<'a> {
    /// Asks for a [`PONG`].
    Ping,
    /// Replaces the token of the connection.
    Auth {
        /// A token with the same subject.
        #[serde(borrow)]
        token: Cow<'a, str>,
    },
    /// Replaces the filter.
    Filter {
        /// The categories to receive; none: all.
        categories: Vec<String>,
    },
}

impl<'a> ClientMessage<'a> {
    /// Reads a message, or none if it is not one.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// The categories that a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Option<Box<[Box<str>]>>);

impl Filter {
    /// Lets only these categories through; none at all: everything.
    #[must_use]
    pub fn new<'a>(categories: impl IntoIterator<Item = &'a str>) -> Self {
        let named = categories.into_iter().map(str::trim).filter(|name| !name.is_empty());
        let named: Box<[Box<str>]> = named.map(Into::into).collect();
        Self((!named.is_empty()).then_some(named))
    }

    /// Whether `text` is for this client. Parses it only if there is a filter; what names no
    /// category passes.
    #[must_use]
    pub fn passes(&self, text: &str) -> bool {
        #[derive(Deserialize)]
        struct Categorised<'a> {
            #[serde(borrow)]
            category: Option<Cow<'a, str>>,
        }
        let Some(wanted) = &self.0 else { return true };
        // An array would be read as the fields of the struct, in order.
        if !text.trim_start().starts_with('{') {
            return true;
        }
        let category = serde_json::from_str::<Categorised<'_>>(text).ok().and_then(|c| c.category);
        category.is_none_or(|category| wanted.iter().any(|wanted| **wanted == *category))
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

    #[test]
    fn a_client_may_ping_renew_its_token_and_filter() {
        assert_eq!(ClientMessage::parse(r#"{"type":"ping","n":1}"#), Some(ClientMessage::Ping));
        let auth = ClientMessage::Auth { token: "t".into() };
        assert_eq!(ClientMessage::parse(r#"{"type":"auth","token":"t"}"#), Some(auth));
        let filter = ClientMessage::Filter { categories: vec!["a".into()] };
        assert_eq!(ClientMessage::parse(r#"{"type":"filter","categories":["a"]}"#), Some(filter));
        for other in ["", "ping", "[]", r#"{"type":"pong"}"#, r#"{"type":"auth"}"#, "{", "1e400"] {
            assert_eq!(ClientMessage::parse(other), None, "{other}");
        }
        assert_eq!(ClientMessage::parse(&"[".repeat(4096)), None);
    }

    #[test]
    fn a_filter_lets_its_categories_and_what_has_none_through() {
        let alerts = r#"{"id":"1-0","event":"e","category":"system_alerts","data":{}}"#;
        let classes = r#"{"id":"1-0","event":"e","category":"class_management","data":{}}"#;
        let filter = Filter::new("system_alerts, batch_progress".split(','));
        assert!(filter.passes(alerts) && !filter.passes(classes));
        assert!(filter.passes(r#"{"event":"e"}"#) && filter.passes("not JSON"));
        assert!(Filter::new(",".split(',')).passes(classes));
        assert_eq!(Filter::new([]), Filter::default());
    }
}
