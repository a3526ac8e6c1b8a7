//! From a request to the user behind it: where the token is found ([`fn@token`]) and what it must
//! say. Algorithms and keys are fixed by the settings, never chosen by a token. Tokens and what
//! is in them are never logged.

pub mod jwks;
mod keys;
mod token;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use shared::user::UserId;

use jwks::Published;
pub use keys::{Key, KeyError, Rules};
pub use token::token;

/// Whom a connection belongs to, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject of the token.
    pub user: UserId,
    /// When the token expires, in seconds since 1970.
    pub expires_at: u64,
}

impl Identity {
    /// How long the token is still valid.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        Duration::from_secs(self.expires_at).saturating_sub(since_1970())
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum AuthError {
    /// The request has none.
    Missing,
    /// It names a key that is not known.
    UnknownKey,
    /// Not a token, or signed by somebody else, or with another algorithm.
    Invalid,
    /// Its time is over, or it has no end.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// For another audience or from another issuer.
    Foreign,
    /// Meant for something else than access.
    WrongKind,
    /// The subject is no user.
    NoUser,
    /// A new token for a live connection names another user.
    OtherUser,
}

impl AuthError {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::UnknownKey,
        Self::Invalid,
        Self::Expired,
        Self::NotYetValid,
        Self::Foreign,
        Self::WrongKind,
        Self::NoUser,
        Self::OtherUser,
    ];

    /// The label of metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::UnknownKey => "unknown_key",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Foreign => "foreign",
            Self::WrongKind => "wrong_kind",
            Self::NoUser => "no_user",
            Self::OtherUser => "other_user",
        }
    }

    /// What the client is told: enough to act, nothing about keys.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "Authentication token missing",
            Self::Invalid | Self::UnknownKey => "Invalid authentication token",
            Self::Expired => "Authentication token has expired",
            Self::NotYetValid => "Authentication token is not valid yet",
            Self::Foreign => "Authentication token is for another audience",
            Self::WrongKind => "Not an access token",
            Self::NoUser => "Authentication token names no user",
            Self::OtherUser => "Authentication token is for another user",
        }
    }
}

/// The accepted ones of a token's claims.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    iat: Option<f64>,
    typ: Option<String>,
}

/// Checks tokens.
#[derive(Debug)]
pub struct Authenticator {
    keys: Vec<Key>,
    published: Option<Published>,
}

impl Authenticator {
    /// Accepts tokens that are signed with one of `keys`, or with one that the issuer publishes.
    #[must_use]
    pub fn new(keys: Vec<Key>, published: Option<Published>) -> Self {
        Self { keys, published }
    }

    /// The identity that a token proves. A key that is not known yet is asked for.
    ///
    /// # Errors
    /// Why the token is refused.
    pub async fn authenticate(&self, token: Option<&str>) -> Result<Identity, AuthError> {
        let identity = self.check(token);
        if let (Err(AuthError::UnknownKey), Some(published)) = (&identity, &self.published) {
            published.look_again().await;
            return self.check(token);
        }
        identity
    }

    /// The identity that a new token proves for the connection of `user`.
    ///
    /// # Errors
    /// Why the token is refused; another user's is.
    pub async fn renew(&self, user: &UserId, token: &str) -> Result<Identity, AuthError> {
        let identity = self.authenticate(Some(token)).await?;
        if identity.user == *user { Ok(identity) } else { Err(AuthError::OtherUser) }
    }

    fn check(&self, token: Option<&str>) -> Result<Identity, AuthError> {
        let token = token.ok_or(AuthError::Missing)?;
        let header = decode_header(token).map_err(|_| AuthError::Invalid)?;
        // RFC 7515: what a token marks as critical must be understood, and nothing is.
        if header.crit.is_some() {
            return Err(AuthError::Invalid);
        }
        let published = self.published.as_ref().map(Published::keys);
        let published = published.as_deref().unwrap_or_default();
        let mut fitting =
            self.keys.iter().chain(published).filter(|key| key.fits(&header)).peekable();
        let is_unknown = fitting.peek().is_none() && header.kid.is_some();
        let mut refused = if is_unknown { AuthError::UnknownKey } else { AuthError::Invalid };
        for key in fitting {
            match check(token, key) {
                Ok(identity) => return Ok(identity),
                // Signed with another key, perhaps; any other refusal is about the token itself.
                Err(AuthError::Invalid) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

fn check(token: &str, Key { decoding, validation, .. }: &Key) -> Result<Identity, AuthError> {
    let token =
        decode::<Claims>(token, decoding, validation).map_err(|error| refusal(error.kind()))?;
    let claims = token.claims;
    if claims.typ.is_some_and(|kind| kind.eq_ignore_ascii_case("refresh")) {
        return Err(AuthError::WrongKind);
    }
    let latest = (since_1970() + Duration::from_secs(validation.leeway)).as_secs_f64();
    if claims.iat.is_some_and(|issued_at| issued_at > latest) {
        return Err(AuthError::NotYetValid);
    }
    let user = UserId::new(&claims.sub).map_err(|_| AuthError::NoUser)?;
    // The library accepted it as a number of seconds, so it is finite and not negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let expires_at = (claims.exp as u64).saturating_add(validation.leeway);
    Ok(Identity { user, expires_at })
}

fn refusal(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => AuthError::Foreign,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "aud" | "iss" => AuthError::Foreign,
            "sub" => AuthError::NoUser,
            _ => AuthError::Expired,
        },
        _ => AuthError::Invalid,
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
