//! From a request to the user behind it: where the token is found ([`fn@token`]) and what it must
//! say. Algorithms and keys are fixed by the settings, never chosen by a token. Tokens and what
//! is in them are never logged.

mod error;
pub mod jwks;
mod keys;
mod origin;
pub mod revocation;
pub mod secret_policy;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use shared::user::UserId;

use crate::files::Current;
pub use error::{AuthError, TokenResult};
use jwks::JwksCache;
pub use keys::{Key, KeyError, Rules};
pub use origin::Origins;
use revocation::Revocations;
pub use token::{TOKEN_SUBPROTOCOL_PREFIX, token};

/// Whom a connection belongs to, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject of the token.
    pub user: UserId,
    /// When the token expires, in seconds since 1970.
    pub expires_at: u64,
    /// By what the token may be revoked.
    pub credential: Credential,
}

/// What tells a token from others of the same user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// Its `jti`.
    pub token_id: Option<Box<str>>,
    /// Its `iat`, in seconds since 1970; 0 if it does not say.
    pub issued_at: u64,
}

/// The longest id of a token, in bytes: it is kept as long as the connection.
pub const MAX_TOKEN_ID: usize = 256;

impl Identity {
    /// How long the token is still valid.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        Duration::from_secs(self.expires_at).saturating_sub(since_1970())
    }
}

/// The accepted ones of a token's claims.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    iat: Option<f64>,
    jti: Option<String>,
    typ: Option<String>,
}

/// Checks tokens.
#[derive(Debug)]
pub struct Authenticator {
    keys: Vec<Key>,
    in_files: Option<Current<Vec<Key>>>,
    published: Option<JwksCache>,
    revocations: Revocations,
}

impl Authenticator {
    /// Accepts tokens that are signed with one of `keys`, or with one that the issuer publishes.
    #[must_use]
    pub fn new(keys: Vec<Key>, published: Option<JwksCache>) -> Self {
        Self { keys, in_files: None, published, revocations: Revocations::default() }
    }

    /// Refuses what is revoked there.
    #[must_use]
    pub fn with_revocations(mut self, revocations: Revocations) -> Self {
        self.revocations = revocations;
        self
    }

    /// Accepts tokens that are signed with a key of these files, too.
    #[must_use]
    pub fn with_files(mut self, keys: Current<Vec<Key>>) -> Self {
        self.in_files = Some(keys);
        self
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

    /// Whether a token that was accepted has been revoked since.
    #[must_use]
    pub fn is_revoked(&self, Identity { user, credential, .. }: &Identity) -> bool {
        self.revocations.is_revoked(user, credential)
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
        let published = self.published.as_ref().map(JwksCache::keys);
        let published = published.as_deref().unwrap_or_default();
        let in_files = self.in_files.as_ref().map(|keys| Arc::clone(&keys.borrow()));
        let in_files = in_files.as_deref().map(Vec::as_slice).unwrap_or_default();
        let keys = self.keys.iter().chain(in_files).chain(published);
        let mut fitting = keys.filter(|key| key.fits(&header)).peekable();
        let is_unknown = fitting.peek().is_none() && header.kid.is_some();
        let mut refused = if is_unknown { AuthError::UnknownKey } else { AuthError::Invalid };
        for key in fitting {
            match check(token, key) {
                Ok(identity) if self.is_revoked(&identity) => return Err(AuthError::Revoked),
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
    if claims.jti.as_ref().is_some_and(|id| id.len() > MAX_TOKEN_ID) {
        return Err(AuthError::Invalid);
    }
    let credential = Credential {
        token_id: claims.jti.map(Into::into),
        issued_at: claims.iat.map_or(0, whole_seconds),
    };
    let expires_at = whole_seconds(claims.exp).saturating_add(validation.leeway);
    Ok(Identity { user, expires_at, credential })
}

/// A cast never fails: it takes the nearest number that there is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as it says")]
fn whole_seconds(time: f64) -> u64 {
    time as u64
}

fn refusal(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => AuthError::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "aud" | "iss" => AuthError::WrongAudience,
            "sub" => AuthError::NoUser,
            _ => AuthError::Expired,
        },
        _ => AuthError::Invalid,
    }
}

/// Now, in seconds since 1970.
#[must_use]
pub fn seconds_since_1970() -> u64 {
    since_1970().as_secs()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
