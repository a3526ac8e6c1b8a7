//! Close codes: why a connection is closed, and what the client should do about it.

use std::time::Duration;

use serde::Serialize;
use shared::metrics::Label;
use tokio_tungstenite::tungstenite::{
    Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

shared::label! {
    /// Why the gateway closes a connection.
    pub enum CloseReason as "reason" {
        /// The token was refused.
        Unauthenticated = "unauthenticated",
        /// The token has expired.
        TokenExpired = "token_expired",
        /// The token was revoked.
        Revoked = "revoked",
        /// The user has too many connections.
        LimitReached = "limit_reached",
        /// This gateway shuts down.
        Restarting = "restarting",
        /// This gateway has far more connections than the others.
        Rebalanced = "rebalanced",
        /// An operator closed it.
        ClosedByOperator = "closed_by_operator",
        /// The connection's queue is full.
        TooSlow = "too_slow",
        /// The client neither answered pings nor sent anything.
        KeepaliveTimeout = "keepalive_timeout",
        /// Redis did not confirm the subscription, or return the history, in time.
        SubscriptionTimeout = "subscription_timeout",
        /// A message exceeds the size limit.
        TooBig = "too_big",
        /// A binary message.
        Binary = "binary",
        /// A violation of the WebSocket protocol.
        Protocol = "protocol_error",
        /// A text message that is not UTF-8.
        BadUtf8 = "bad_utf8",
    }
}

/// What a client should do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Reconnect and resume.
    Reconnect,
    /// Reconnect at once with a new token; if that is refused too, as after `Wait`.
    NewToken,
    /// Reconnect after a delay that doubles up to minutes: the cause may pass, but not at once.
    Wait,
    /// Do not reconnect: the client violates the protocol and would do so again.
    Stop,
}

/// The maximum length of the reason in a close frame, in bytes (RFC 6455, 5.5).
const MAX_REASON: usize = 123;

impl CloseReason {
    /// Returns the close code.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Unauthenticated | Self::TokenExpired | Self::Revoked => 1008,
            Self::LimitReached => 4000,
            // Deployed clients do not reconnect after 1000 or 1001.
            Self::Restarting | Self::Rebalanced | Self::ClosedByOperator => 1012,
            Self::TooSlow | Self::KeepaliveTimeout | Self::SubscriptionTimeout => 1013,
            Self::TooBig => 1009,
            Self::Binary => 1003,
            Self::Protocol => 1002,
            Self::BadUtf8 => 1007,
        }
    }

    /// Returns what the client should do about it.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Unauthenticated | Self::TokenExpired | Self::Revoked => Remedy::NewToken,
            Self::Restarting
            | Self::Rebalanced
            | Self::ClosedByOperator
            | Self::TooSlow
            | Self::KeepaliveTimeout
            | Self::SubscriptionTimeout => Remedy::Reconnect,
            Self::LimitReached | Self::TooBig | Self::BadUtf8 => Remedy::Wait,
            Self::Binary | Self::Protocol => Remedy::Stop,
        }
    }

    /// Returns label and random delay for a client that should reconnect. After a restart at least
    /// 0.5 s, in which load balancers notice it, and no more than 2 s, as the drain window has
    /// already spread the closes. After a subscription time-out longer, as Redis is likely
    /// unavailable.
    #[must_use]
    pub(crate) fn reconnect_after(self) -> Option<(&'static str, Duration)> {
        let seconds = match self {
            Self::Restarting | Self::Rebalanced | Self::ClosedByOperator => 0.5..=2.0,
            Self::TooSlow | Self::KeepaliveTimeout => 0.0..=1.0,
            Self::SubscriptionTimeout => 1.0..=5.0,
            _ => return None,
        };
        Some((self.label(), Duration::from_secs_f64(rand::random_range(seconds))))
    }

    /// Returns the close frame.
    #[must_use]
    pub(crate) fn frame(self) -> CloseFrame {
        let reason = match self {
            Self::Unauthenticated => coded(AUTHENTICATION_ERROR, "Invalid authentication token"),
            Self::TokenExpired => coded(AUTHENTICATION_ERROR, "Authentication token has expired"),
            Self::Revoked => coded(AUTHENTICATION_ERROR, "Authentication token was revoked"),
            Self::LimitReached => coded("QUOTA_EXCEEDED", "Connection limit exceeded"),
            Self::Restarting => Utf8Bytes::from_static("restarting: reconnect"),
            Self::Rebalanced => Utf8Bytes::from_static("rebalanced: reconnect"),
            Self::ClosedByOperator => Utf8Bytes::from_static("closed by an operator: reconnect"),
            Self::TooSlow => Utf8Bytes::from_static("too slow: reconnect and resume"),
            Self::KeepaliveTimeout => Utf8Bytes::from_static("keep-alive timeout: reconnect"),
            Self::SubscriptionTimeout => {
                Utf8Bytes::from_static("subscription not confirmed: reconnect and resume")
            }
            Self::TooBig => Utf8Bytes::from_static("message too big"),
            Self::Binary => Utf8Bytes::from_static("text messages only"),
            Self::Protocol => Utf8Bytes::from_static("protocol error"),
            Self::BadUtf8 => Utf8Bytes::from_static("invalid UTF-8"),
        };
        CloseFrame { code: CloseCode::from(self.code()), reason }
    }

    /// Returns the close frame for a token that was refused for the reason in `message`.
    #[must_use]
    pub(crate) fn unauthenticated(message: &'static str) -> CloseFrame {
        let code = CloseCode::from(Self::Unauthenticated.code());
        CloseFrame { code, reason: coded(AUTHENTICATION_ERROR, message) }
    }
}

/// The `error_code` of frames and close reasons about tokens.
pub(crate) const AUTHENTICATION_ERROR: &str = "AUTHENTICATION_ERROR";

/// Returns a reason in JSON, never truncated: a browser could not parse it.
fn coded(error_code: &'static str, message: &'static str) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Coded {
        error_code: &'static str,
        message: &'static str,
    }
    let text = serde_json::to_string(&Coded { error_code, message });
    let text = text.expect("two strings serialise");
    debug_assert!(text.len() <= MAX_REASON, "{text}");
    text.into()
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The gateway closed it.
    ByGateway(CloseReason),
    /// The client closed it or cannot be reached.
    ByClient,
    /// It was a long poll, and its answer is complete.
    Answered,
}

impl Disconnect {
    /// Returns the label of metrics and logs.
    #[must_use]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ByGateway(reason) => reason.label(),
            Self::ByClient => "client",
            Self::Answered => "answered",
        }
    }
}

impl Label for Disconnect {
    const COUNT: usize = CloseReason::COUNT + 2;

    fn keys() -> Vec<&'static str> {
        CloseReason::keys()
    }

    fn all() -> Vec<Self> {
        let by_gateway = CloseReason::all().into_iter().map(Self::ByGateway);
        by_gateway.chain([Self::ByClient, Self::Answered]).collect()
    }

    fn index(self) -> usize {
        match self {
            Self::ByGateway(reason) => reason.index(),
            Self::ByClient => CloseReason::COUNT,
            Self::Answered => CloseReason::COUNT + 1,
        }
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.label()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_into_a_close_frame_and_no_code_keeps_clients_from_reconnecting() {
        for reason in CloseReason::all() {
            assert!(reason.frame().reason.len() <= MAX_REASON, "{reason:?}");
            assert!(!matches!(reason.code(), 1000 | 1001), "{reason:?}");
        }
    }

    #[test]
    fn a_code_has_one_remedy_and_only_reconnecting_clients_get_a_delay() {
        for a in CloseReason::all() {
            for b in CloseReason::all().into_iter().filter(|b| b.code() == a.code()) {
                assert_eq!(a.remedy(), b.remedy(), "{a:?} {b:?}");
            }
            let has_delay = a.reconnect_after().is_some();
            assert_eq!(has_delay, a.remedy() == Remedy::Reconnect, "{a:?}");
        }
    }

    #[test]
    fn the_connection_limit_is_reported_as_json() {
        assert_eq!(
            CloseReason::LimitReached.frame().reason.as_str(),
            r#"{"error_code":"QUOTA_EXCEEDED","message":"Connection limit exceeded"}"#
        );
    }

    #[test]
    fn every_disconnect_has_a_series_of_its_own() {
        let indexes: Vec<usize> = Disconnect::all().into_iter().map(Label::index).collect();
        assert_eq!(indexes, (0..Disconnect::COUNT).collect::<Vec<_>>());
    }
}
