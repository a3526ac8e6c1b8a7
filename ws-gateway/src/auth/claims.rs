//! The claims of a token: what they must say, and the identity that follows from them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{decode, errors::ErrorKind};
use serde::Deserialize;
use shared::user::UserId;

use super::{error::AuthError, keys::Key};

/// The user of a connection, and how long the token is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject (`sub`) of the token.
    pub user: UserId,
    /// When the token expires (`exp`), in Unix seconds.
    pub expires_at: u64,
    /// What a revocation of the token is matched with.
    pub credential: Credential,
}

/// What distinguishes a token from others of the same user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// The id (`jti`) of the token.
    pub(crate) token_id: Option<Arc<str>>,
    /// When the token was issued (`iat`), in Unix seconds; 0 if it does not say.
    pub(crate) issued_at: u64,
}

/// The longest accepted `jti`, in bytes: it is kept as long as the connection.
pub(crate) const MAX_TOKEN_ID: usize = 256;

impl Identity {
    /// Returns how long the token is still valid.
    #[must_use]
    pub(crate) fn valid_for(&self) -> Duration {
        Duration::from_secs(self.expires_at).saturating_sub(unix_time())
    }
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    iat: Option<f64>,
    nbf: Option<f64>,
    jti: Option<String>,
    typ: Option<String>,
}

/// Checks the signature and the claims of a token with one key.
///
/// # Errors
/// Returns [`AuthError::Invalid`] if the token may be signed with another key; every other error
/// is about the token itself.
pub(super) fn verify(token: &str, key: &Key) -> Result<Identity, AuthError> {
    let decoded = decode::<Claims>(token, &key.decoding, &key.validation);
    let claims = decoded.map_err(|error| refusal(error.kind()))?.claims;
    if claims.typ.is_some_and(|kind| kind.eq_ignore_ascii_case("refresh")) {
        return Err(AuthError::WrongKind);
    }
    let latest = (unix_time() + key.leeway).as_secs_f64();
    if claims.iat.is_some_and(|iat| iat > latest) || claims.nbf.is_some_and(|nbf| nbf > latest) {
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
    Ok(Identity { user, expires_at: whole_seconds(claims.exp), credential })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates: a time before 1970 becomes 0"
)]
fn whole_seconds(time: f64) -> u64 {
    time as u64
}

fn refusal(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => AuthError::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "aud" | "iss" => AuthError::WrongAudience,
            "sub" => AuthError::NoUser,
            _ => AuthError::Expired,
        },
        _ => AuthError::Invalid,
    }
}

/// Returns the current Unix time in seconds.
#[must_use]
pub(crate) fn unix_seconds() -> u64 {
    unix_time().as_secs()
}

pub(super) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
