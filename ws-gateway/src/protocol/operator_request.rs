//! What operators ask all gateways, and what each gateway answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A request to all gateways.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OperatorRequest {
    /// Names the channel of the answers.
    pub(crate) id: Uuid,
    /// Who asks, for the gateways' logs.
    pub(crate) by: String,
    /// When the operator stops waiting, in Unix milliseconds of Redis's clock: a gateway that was
    /// stopped meanwhile must not act on the request.
    pub(crate) expires_ms: i64,
    /// What is asked.
    #[serde(flatten)]
    pub(crate) action: OperatorAction,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum OperatorAction {
    /// Describe the connections of a user, or of all users.
    Connections {
        /// None: of all users.
        #[serde(default)]
        user: Option<String>,
        /// The maximum number of connections that a gateway describes.
        limit: usize,
    },
    /// Close the connections of a user.
    Disconnect {
        /// The user.
        user: String,
    },
}

/// The answer of one gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GatewayAnswer {
    /// The name of the gateway: host and port for clients.
    pub(crate) gateway: String,
    /// The number of all its connections.
    pub(crate) total: u64,
    /// The connections that are described, or were closed.
    pub(crate) connections: Vec<ConnectionInfo>,
}

/// One connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConnectionInfo {
    /// The id in the gateway's log.
    pub(crate) id: Uuid,
    /// The user.
    pub(crate) user: String,
    /// What carries the frames.
    pub(crate) transport: String,
    /// The address of the client, as in the forwarding headers of trusted proxies.
    pub(crate) address: String,
    /// When it was opened.
    pub(crate) since: Timestamp,
    /// The categories that the client wants; none: all.
    pub(crate) categories: Option<Vec<String>>,
    /// The number of frames that wait to be written.
    pub(crate) queued: usize,
    /// The bytes of these frames.
    pub(crate) queued_bytes: usize,
    /// The newest position that was queued for it; none if it is unknown.
    pub(crate) position: Option<String>,
    /// When the client last answered a ping or sent a frame; none: not yet.
    pub(crate) last_activity: Option<Timestamp>,
}

impl OperatorRequest {
    /// Reads a request; none if the text is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns the text that is published.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a request serialises")
    }
}

impl GatewayAnswer {
    /// Reads an answer; none if the text is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns the text that is published.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("an answer serialises")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_and_an_unknown_action_is_none() {
        for action in [
            OperatorAction::Connections { user: None, limit: 5 },
            OperatorAction::Connections { user: Some("u".into()), limit: 5 },
            OperatorAction::Disconnect { user: "u".into() },
        ] {
            let request = OperatorRequest {
                id: Uuid::new_v4(),
                by: "me".into(),
                expires_ms: 1_754_558_130_000,
                action,
            };
            assert_eq!(OperatorRequest::parse(&request.to_text()), Some(request));
        }
        let unknown =
            format!(r#"{{"id":"{}","by":"me","expires_ms":7,"action":"shout"}}"#, Uuid::nil());
        assert_eq!(OperatorRequest::parse(&unknown), None);
        assert_eq!(OperatorRequest::parse("{}"), None);
    }
}
