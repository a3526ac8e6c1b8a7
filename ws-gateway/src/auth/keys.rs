//! The keys that tokens may be signed with. A key is used only with the accepted algorithms of its
//! own family, so that a public key is never taken for a shared secret.

use std::time::Duration;

use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use shared::config::Secret;

/// What every token must satisfy, whatever its key.
#[derive(Clone, Debug)]
pub struct TokenRules {
    algorithms: Vec<Algorithm>,
    validation: Validation,
    /// How far `iat` and `nbf` may be in the future.
    leeway: Duration,
}

impl TokenRules {
    /// Returns rules that accept `algorithms`, and check `audience` and `issuer` exactly when
    /// they are given.
    #[must_use]
    pub fn new(
        algorithms: &[Algorithm],
        audience: Option<&str>,
        issuer: Option<&str>,
        leeway: Duration,
    ) -> Self {
        let mut validation = Validation {
            // `exp` is checked to the second; `nbf` and `iat` are checked with the claims, as this
            // leeway would extend `exp` as well.
            leeway: 0,
            validate_nbf: false,
            validate_aud: audience.is_some(),
            ..Validation::default()
        };
        // jsonwebtoken lets a claim of the wrong type pass unless the claim is required.
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
        Self { algorithms: algorithms.to_vec(), validation, leeway }
    }
}

/// A key and the rules for the tokens that it verifies.
#[derive(Debug)]
pub struct Key {
    /// The `kid`. A token with a `kid` is checked with the keys of that id and those without one.
    id: Option<String>,
    pub(super) decoding: DecodingKey,
    pub(super) validation: Validation,
    pub(super) leeway: Duration,
}

/// Why a key cannot be used. The text shows nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not a public key in PEM.
    #[error("not a public key in PEM: RSA, EC (P-256 or P-384) or Ed25519")]
    NotPem,
    /// None of the accepted algorithms is of the family of this key.
    #[error("no algorithm in JWT_ALGORITHM is for this kind of key")]
    NoAlgorithm,
    /// The key has another purpose, or is of a kind that is not supported.
    #[error("not a public key for signatures")]
    NotForSignatures,
}

impl Key {
    /// Returns the key of a shared secret.
    ///
    /// # Errors
    /// [`KeyError::NoAlgorithm`] if no HMAC algorithm is accepted.
    pub fn from_secret(secret: &Secret, rules: &TokenRules) -> Result<Self, KeyError> {
        Self::new(None, DecodingKey::from_secret(secret.expose().as_bytes()), rules, |_| true)
    }

    /// Returns the key of a public key in PEM.
    ///
    /// # Errors
    /// If the text is not a public key, or no algorithm of its family is accepted.
    pub(crate) fn from_pem(pem: &str, rules: &TokenRules) -> Result<Self, KeyError> {
        let pem = pem.as_bytes();
        let key = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(|_| KeyError::NotPem)?;
        Self::new(None, key, rules, |_| true)
    }

    /// Returns a public key of a published set. Its `use` and `alg` are optional. A symmetric key
    /// is refused: once published it is not a secret.
    ///
    /// # Errors
    /// If the key is not for signatures, or no algorithm of its family is accepted.
    pub(crate) fn from_jwk(jwk: &Jwk, rules: &TokenRules) -> Result<Self, KeyError> {
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
        rules: &TokenRules,
        may: impl Fn(Algorithm) -> bool,
    ) -> Result<Self, KeyError> {
        let own = |algorithm: &Algorithm| algorithm.family() == key.family() && may(*algorithm);
        let algorithms: Vec<Algorithm> = rules.algorithms.iter().copied().filter(own).collect();
        if algorithms.is_empty() {
            return Err(KeyError::NoAlgorithm);
        }
        let validation = Validation { algorithms, ..rules.validation.clone() };
        Ok(Self { id, decoding: key, validation, leeway: rules.leeway })
    }

    /// Whether the key is only for tokens that name it, and those that name none.
    #[must_use]
    pub(crate) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// Whether a token with this header may be signed with this key.
    #[must_use]
    pub(crate) fn matches(&self, header: &Header) -> bool {
        let named = self.id.as_ref().zip(header.kid.as_ref()).is_none_or(|(id, kid)| id == kid);
        named && self.accepts(header.alg)
    }

    /// Whether this key verifies tokens signed with `algorithm`.
    #[must_use]
    pub(crate) fn accepts(&self, algorithm: Algorithm) -> bool {
        self.validation.algorithms.contains(&algorithm)
    }
}
