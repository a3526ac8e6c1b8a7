//! The tokens that the sockets show: signed here with the deployment's key, or given.

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use harness::token::claims;

/// How long a token that is signed here is valid.
const LIFETIME_SECONDS: i64 = 6 * 3600;

/// Where tokens come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Tokens {
    /// Signed with a shared secret, HS256.
    Secret(String),
    /// Signed with a private RSA key in PEM, RS256.
    Rsa(String),
    /// Issued by somebody else, one for each user.
    Given(Vec<String>),
}

/// The claims that a deployment may insist on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Claims {
    /// `aud`.
    pub audience: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
}

impl Tokens {
    /// The token of the user with this number and name.
    ///
    /// # Errors
    /// When it cannot be signed, or none was given.
    pub fn token(&self, number: usize, user: &str, extra: &Claims) -> anyhow::Result<String> {
        let (algorithm, key) = match self {
            Self::Secret(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes())),
            Self::Rsa(pem) => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes())?),
            Self::Given(tokens) => {
                return tokens.get(number).cloned().context("there is a token for each user");
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

    /// The users of the tokens that were given, by their claims.
    ///
    /// # Errors
    /// When one of them is no token with a `sub`.
    pub fn users_of(tokens: &[String]) -> anyhow::Result<Vec<String>> {
        ensure!(!tokens.is_empty(), "there are no tokens");
        tokens.iter().map(|token| user_of(token).context("a token has claims with a sub")).collect()
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
    fn the_user_of_a_token_is_read_from_it() {
        let tokens = Tokens::Secret("secret".into());
        let token = tokens.token(0, "teacher-42", &Claims::default()).unwrap();
        assert_eq!(Tokens::users_of(&[token]).unwrap(), ["teacher-42"]);
        assert!(Tokens::users_of(&["a.b.c".into()]).is_err());
    }
}
