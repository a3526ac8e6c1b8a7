//! Tokens of the sockets: signed with the deployment's key, or given.

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use harness::token::claims;

/// Lifetime of signed tokens; longer than any run.
const LIFETIME_SECONDS: i64 = 6 * 3600;

/// Where tokens come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Tokens {
    /// Signed with a shared secret, HS256.
    Secret(String),
    /// Signed with a private RSA key in PEM, RS256.
    Rsa(String),
    /// Issued elsewhere, one for each user.
    Given(Vec<String>),
}

/// Claims that a deployment may require.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Claims {
    /// `aud`.
    pub audience: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
}

impl Tokens {
    /// Returns the token of a user.
    ///
    /// # Errors
    /// When the token cannot be signed, or fewer tokens were given than there are users.
    pub fn token(&self, number: usize, user: &str, extra: &Claims) -> anyhow::Result<String> {
        let (algorithm, key) = match self {
            Self::Secret(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes())),
            Self::Rsa(pem) => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes())?),
            Self::Given(tokens) => {
                return tokens
                    .get(number)
                    .cloned()
                    .with_context(|| format!("no token was given for user number {number}"));
            }
        };
        let mut claims = claims(user, LIFETIME_SECONDS);
        for (name, value) in [("aud", &extra.audience), ("iss", &extra.issuer)] {
            if let Some(value) = value {
                claims[name] = value.as_str().into();
            }
        }
        encode(&Header::new(algorithm), &claims, &key).context("sign a token")
    }

    /// Reads the users from the `sub` of given tokens.
    ///
    /// # Errors
    /// When there are no tokens, or one has no `sub`.
    pub fn users_of(tokens: &[String]) -> anyhow::Result<Vec<String>> {
        ensure!(!tokens.is_empty(), "there are no tokens");
        tokens.iter().map(|token| user_of(token).context("a token has no sub")).collect()
    }
}

fn user_of(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_read_from_a_token() {
        let tokens = Tokens::Secret("secret".into());
        let token = tokens.token(0, "teacher-42", &Claims::default()).unwrap();
        assert_eq!(Tokens::users_of(&[token]).unwrap(), ["teacher-42"]);
        assert!(Tokens::users_of(&["a.b.c".into()]).is_err());
    }
}
