//! The keys that tokens may be signed with. Each is used with the accepted algorithms of its own
//! family and with no other; a token's header only picks among them.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use shared::config::Secret;

/// What must hold for every token, whatever its key.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The accepted algorithms.
    algorithms: Vec<Algorithm>,
    /// What is asked of the claims.
    validation: Validation,
}

impl Rules {
    /// Accepts `algorithms`. `audience` and `issuer` are checked exactly when they are given.
    #[must_use]
    pub fn new(
        algorithms: &[Algorithm],
        audience: Option<&str>,
        issuer: Option<&str>,
        leeway: std::time::Duration,
    ) -> Self {
        let mut validation = Validation {
            leeway: leeway.as_secs(),
            validate_nbf: true,
            validate_aud: audience.is_some(),
            ..Validation::default()
        };
        // A claim that is not required passes when it has the wrong type.
        let mut required = vec!["exp", "sub"];
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Self { algorithms: algorithms.to_vec(), validation }
    }
}

/// A key, and how it may be used.
#[derive(Debug)]
pub struct Key {
    pub(super) key: DecodingKey,
    pub(super) validation: Validation,
}

/// Why a key cannot be used. Says nothing of the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is no public key in PEM.
    #[error("not a public key in PEM: RSA, EC (P-256 or P-384) or Ed25519")]
    NotPem,
    /// None of the accepted algorithms is one of this kind of key.
    #[error("no algorithm of JWT_ALGORITHM is for this kind of key")]
    NoAlgorithm,
}

impl Key {
    /// A shared secret.
    ///
    /// # Errors
    /// When no HMAC algorithm is accepted.
    pub fn from_secret(secret: &Secret, rules: &Rules) -> Result<Self, KeyError> {
        Self::new(DecodingKey::from_secret(secret.expose().as_bytes()), rules)
    }

    /// A public key in PEM.
    ///
    /// # Errors
    /// When it is none, or no algorithm of its kind is accepted.
    pub fn from_pem(pem: &str, rules: &Rules) -> Result<Self, KeyError> {
        let pem = pem.as_bytes();
        let key = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(|_| KeyError::NotPem)?;
        Self::new(key, rules)
    }

    fn new(key: DecodingKey, rules: &Rules) -> Result<Self, KeyError> {
        let own = rules.algorithms.iter().filter(|algorithm| algorithm.family() == key.family());
        let algorithms: Vec<Algorithm> = own.copied().collect();
        if algorithms.is_empty() {
            return Err(KeyError::NoAlgorithm);
        }
        let validation = Validation { algorithms, ..rules.validation.clone() };
        Ok(Self { key, validation })
    }

    /// Whether a token signed with `algorithm` may be signed with this key.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.validation.algorithms.contains(&algorithm)
    }
}
