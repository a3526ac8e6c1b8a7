//! Why a token is refused, for metrics and for the client.

use shared::metrics::Label;

shared::label! {
    /// Why a token is refused.
    #[derive(thiserror::Error)]
    #[error("{}", self.message())]
    pub enum AuthError as "result" {
        /// The request carries no token.
        Missing = "missing",
        /// The token's `kid` names no known key.
        UnknownKey = "unknown_key",
        /// Not a JWT, or its signature or algorithm is not accepted.
        Invalid = "invalid",
        /// `exp` has passed or is missing.
        Expired = "expired",
        /// `nbf` or `iat` is in the future.
        NotYetValid = "not_yet_valid",
        /// `aud` or `iss` is not the configured one.
        WrongAudience = "wrong_audience",
        /// `typ` is `refresh`.
        WrongKind = "wrong_kind",
        /// `sub` is not a user id.
        NoUser = "no_user",
        /// The new token of a live connection has another `sub`.
        OtherUser = "other_user",
        /// The token or all tokens of its user were revoked.
        Revoked = "revoked",
    }
}

impl AuthError {
    /// Returns the text for the client: enough to act, nothing about keys.
    #[must_use]
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Missing => "Authentication token missing",
            Self::Invalid | Self::UnknownKey => "Invalid authentication token",
            Self::Expired => "Authentication token has expired",
            Self::NotYetValid => "Authentication token is not valid yet",
            Self::WrongAudience => "Authentication token is for another audience",
            Self::WrongKind => "Not an access token",
            Self::NoUser => "Authentication token names no user",
            Self::OtherUser => "Authentication token is for another user",
            Self::Revoked => "Authentication token was revoked",
        }
    }
}

/// The result of a token check as a metric label: `valid`, or the reason of the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenResult(Option<AuthError>);

impl<T> From<&Result<T, AuthError>> for TokenResult {
    fn from(result: &Result<T, AuthError>) -> Self {
        Self(result.as_ref().err().copied())
    }
}

impl Label for TokenResult {
    const COUNT: usize = 1 + AuthError::COUNT;

    fn keys() -> Vec<&'static str> {
        AuthError::keys()
    }

    fn all() -> Vec<Self> {
        let refused = AuthError::all().into_iter().map(Some);
        std::iter::once(None).chain(refused).map(Self).collect()
    }

    fn index(self) -> usize {
        self.0.map_or(0, |error| 1 + error.index())
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.0.map_or("valid", AuthError::label)]
    }
}
