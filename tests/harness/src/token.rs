//! Tokens as the identity service issues them.

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The claims of a token for `user` that is valid for `seconds` from now, or expired that long
/// ago.
#[must_use]
pub fn claims(user: &str, seconds: i64) -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({"sub": user, "iat": now.min(now + seconds), "exp": now + seconds})
}

/// Signs claims with HS256.
///
/// # Errors
/// When the claims cannot be written.
pub fn sign(claims: &Value, secret: &str) -> anyhow::Result<String> {
    sign_with(Algorithm::HS256, claims, secret)
}

/// Signs claims with one of the HMAC algorithms.
///
/// # Errors
/// When the algorithm is another one.
pub fn sign_with(algorithm: Algorithm, claims: &Value, secret: &str) -> anyhow::Result<String> {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes()))
        .context("sign a token")
}

/// A secret that nobody else has.
#[must_use]
pub fn fresh_secret() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}
