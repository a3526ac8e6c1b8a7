//! Why a socket is closed, and what the client is told.

use std::time::Duration;

use serde::Serialize;
use shared::metrics::Label;
use tokio_tungstenite::tungstenite::{
    Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Why the gateway closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The token was refused, for the reason that the text gives to the client.
    Unauthenticated(&'static str),
    /// The token came to its end.
    TokenExpired,
    /// The token was revoked.
    Revoked,
    /// The user has as many connections as one may have.
    LimitReached,
    /// This gateway stops.
    Restarting,
    /// The queue of the connection is full.
    TooSlow,
    /// No sign of life.
    KeepaliveTimeout,
    /// A message over the size limit.
    TooBig,
    /// A binary message.
    Binary,
    /// Not the WebSocket protocol.
    Protocol,
    /// A text that is not UTF-8.
    BadUtf8,
}

/// What a client does about a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It comes back and resumes.
    Reconnect,
    /// It comes back with a new token, once.
    NewToken,
    /// It stays away: another attempt would end the same.
    Stop,
}

/// The longest reason that fits into a close frame, in bytes.
const MAX_REASON: usize = 123;

impl CloseReason {
    /// Every reason; one stands for all refusals of a token.
    pub const ALL: [Self; 11] = [
        Self::Unauthenticated("Invalid authentication token"),
        Self::TokenExpired,
        Self::Revoked,
        Self::LimitReached,
        Self::Restarting,
        Self::TooSlow,
        Self::KeepaliveTimeout,
        Self::TooBig,
        Self::Binary,
        Self::Protocol,
        Self::BadUtf8,
    ];

    /// The close code.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Unauthenticated(_) | Self::TokenExpired | Self::Revoked => 1008,
            Self::LimitReached => 4000,
            // Deployed clients do not come back from 1000 or 1001.
            Self::Restarting => 1012,
            Self::TooSlow | Self::KeepaliveTimeout => 1013,
            Self::TooBig => 1009,
            Self::Binary => 1003,
            Self::Protocol => 1002,
            Self::BadUtf8 => 1007,
        }
    }

    /// The label of metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::TokenExpired => "token_expired",
            Self::Revoked => "revoked",
            Self::LimitReached => "limit_reached",
            Self::Restarting => "restarting",
            Self::TooSlow => "too_slow",
            Self::KeepaliveTimeout => "keepalive_timeout",
            Self::TooBig => "too_big",
            Self::Binary => "binary",
            Self::Protocol => "protocol_error",
            Self::BadUtf8 => "bad_utf8",
        }
    }

    /// What the client does about it.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Unauthenticated(_) | Self::TokenExpired | Self::Revoked => Remedy::NewToken,
            Self::Restarting | Self::TooSlow | Self::KeepaliveTimeout => Remedy::Reconnect,
            Self::LimitReached | Self::TooBig | Self::Binary | Self::Protocol | Self::BadUtf8 => {
                Remedy::Stop
            }
        }
    }

    /// Returns label and random delay for a client that should reconnect. After a restart at least
    /// 0.5 s, in which load balancers notice it, and no more than 2 s, as the drain window has
    /// already spread the closes.
    #[must_use]
    pub fn reconnect_after(self) -> Option<(&'static str, Duration)> {
        let seconds = match self {
            Self::Restarting => 0.5..=2.0,
            Self::TooSlow | Self::KeepaliveTimeout => 0.0..=1.0,
            _ => return None,
        };
        Some((self.label(), Duration::from_secs_f64(rand::random_range(seconds))))
    }

    /// The close frame: code, and a reason that fits.
    #[must_use]
    pub fn frame(self) -> CloseFrame {
        CloseFrame { code: CloseCode::from(self.code()), reason: self.reason() }
    }

    fn reason(self) -> Utf8Bytes {
        match self {
            Self::Unauthenticated(message) => coded("AUTHENTICATION_ERROR", message),
            Self::TokenExpired => coded("AUTHENTICATION_ERROR", "Authentication token has expired"),
            Self::Revoked => coded("AUTHENTICATION_ERROR", "Authentication token was revoked"),
            Self::LimitReached => coded("QUOTA_EXCEEDED", "Connection limit exceeded"),
            Self::Restarting => Utf8Bytes::from_static("restarting: reconnect"),
            Self::TooSlow => Utf8Bytes::from_static("too slow: reconnect and resume"),
            Self::KeepaliveTimeout => {
                Utf8Bytes::from_static("keep-alive timeout: reconnect and resume")
            }
            Self::TooBig => Utf8Bytes::from_static("message too big"),
            Self::Binary => Utf8Bytes::from_static("text only"),
            Self::Protocol => Utf8Bytes::from_static("protocol error"),
            Self::BadUtf8 => Utf8Bytes::from_static("not UTF-8"),
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The gateway closed it.
    ByGateway(CloseReason),
    /// The client closed it or cannot be reached.
    ByClient,
}

impl Disconnect {
    /// Returns the label of metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ByGateway(reason) => reason.label(),
            Self::ByClient => "client",
        }
    }
}

impl Label for Disconnect {
    const COUNT: usize = 1 + CloseReason::ALL.len();

    fn keys() -> Vec<&'static str> {
        vec!["reason"]
    }

    fn all() -> Vec<Self> {
        let by_gateway = CloseReason::ALL.into_iter().map(Self::ByGateway);
        by_gateway.chain([Self::ByClient]).collect()
    }

    fn index(self) -> usize {
        let known = CloseReason::ALL.iter().position(|known| known.label() == self.label());
        known.unwrap_or(CloseReason::ALL.len())
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.label()]
    }
}

/// A reason for programs: always whole, or a browser could not parse it.
fn coded(error_code: &'static str, message: &'static str) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Coded {
        error_code: &'static str,
        message: &'static str,
    }
    let text = serde_json::to_string(&Coded { error_code, message });
    let text = text.expect("two texts serialise");
    debug_assert!(text.len() <= MAX_REASON, "{text}");
    text.into()
}

#[cfg(test)]
mod tests {
    use shared::metrics::Label as _;

    use super::*;

    #[test]
    fn every_reason_fits_into_a_close_frame_and_no_code_keeps_clients_away() {
        for reason in CloseReason::ALL {
            assert!(reason.frame().reason.len() <= MAX_REASON, "{reason:?}");
            assert!(!matches!(reason.code(), 1000 | 1001), "{reason:?}");
        }
    }

    #[test]
    fn a_code_has_one_remedy_and_only_reconnecting_clients_get_a_delay() {
        for a in CloseReason::ALL {
            for b in CloseReason::ALL.into_iter().filter(|b| b.code() == a.code()) {
                assert_eq!(a.remedy(), b.remedy(), "{a:?} {b:?}");
            }
            let has_delay = a.reconnect_after().is_some();
            assert_eq!(has_delay, a.remedy() == Remedy::Reconnect, "{a:?}");
        }
    }

    #[test]
    fn clients_of_a_restarting_gateway_reconnect_after_half_a_second_to_two() {
        let delays: Vec<Duration> = (0..100)
            .filter_map(|_| CloseReason::Restarting.reconnect_after())
            .map(|(_, delay)| delay)
            .collect();
        let allowed = Duration::from_millis(500)..=Duration::from_secs(2);
        assert!(delays.iter().all(|delay| allowed.contains(delay)), "{delays:?}");
        assert!(delays.iter().max() > delays.iter().min(), "{delays:?}");
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
