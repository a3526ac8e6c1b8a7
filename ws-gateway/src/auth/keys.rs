//! The keys that tokens may be signed with. Each is used with the accepted algorithms of its own
//! family and with no other; a token's header only picks among them.

use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
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
    /// A token that names a key is tried with that one; a key without an id is tried for all.
    id: Option<String>,
    pub(super) decoding: DecodingKey,
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
    /// It is meant for something else, or of a kind that is not supported.
    #[error("not a public key for signatures")]
    NotForSignatures,
}

impl Key {
    /// A shared secret.
    ///
    /// # Errors
    /// When no HMAC algorithm is accepted.
    pub fn from_secret(secret: &Secret, rules: &Rules) -> Result<Self, KeyError> {
        Self::new(None, DecodingKey::from_secret(secret.expose().as_bytes()), rules, |_| true)
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
        Self::new(None, key, rules, |_| true)
    }

    /// A public key of a published set. Its `use` and `alg` are optional. A shared secret is
    /// refused: what is published is no secret.
    ///
    /// # Errors
    /// When it is not for signatures, or no algorithm of its kind is accepted.
    pub fn from_jwk(jwk: &Jwk, rules: &Rules) -> Result<Self, KeyError> {
        let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        if !signs || matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err(KeyError::NotForSignatures);
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|_| KeyError::NotForSignatures)?;
        let only = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
        let may = |algorithm| only.as_ref().is_none_or(|only| only.parse() == Ok(algorithm));
        Self::new(jwk.common.key_id.clone(), key, rules, may)
    }

    fn new(
        id: Option<String>,
        key: DecodingKey,
        rules: &Rules,
        may: impl Fn(Algorithm) -> bool,
    ) -> Result<Self, KeyError> {
        let own = |algorithm: &Algorithm| algorithm.family() == key.family() && may(*algorithm);
        let algorithms: Vec<Algorithm> = rules.algorithms.iter().copied().filter(own).collect();
        if algorithms.is_empty() {
            return Err(KeyError::NoAlgorithm);
        }
        let validation = Validation { algorithms, ..rules.validation.clone() };
        Ok(Self { id, decoding: key, validation })
    }

    /// Whether a token with this header may be signed with this key.
    #[must_use]
    pub fn fits(&self, header: &Header) -> bool {
        let named = self.id.as_ref().zip(header.kid.as_ref()).is_none_or(|(id, kid)| id == kid);
        named && self.is_for(header.alg)
    }

    /// Whether tokens signed with `algorithm` may be signed with this key.
    #[must_use]
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.validation.algorithms.contains(&algorithm)
    }
}
