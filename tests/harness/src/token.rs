//! Signs tokens like the identity service does.

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// Returns claims for `user` that expire `seconds` from now, or did so if that is negative.
#[must_use]
pub fn claims(user: &str, seconds: i64) -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({"sub": user, "iat": now.min(now + seconds), "exp": now + seconds})
}

/// Signs claims with HS256.
///
/// # Errors
/// When the claims cannot be serialized.
pub fn sign(claims: &Value, secret: &str) -> anyhow::Result<String> {
    sign_with(Algorithm::HS256, claims, secret)
}

/// Signs claims with an HMAC algorithm.
///
/// # Errors
/// When the algorithm is not an HMAC.
pub fn sign_with(algorithm: Algorithm, claims: &Value, secret: &str) -> anyhow::Result<String> {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes()))
        .context("sign a token")
}

/// Returns a random secret.
#[must_use]
pub fn fresh_secret() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}
