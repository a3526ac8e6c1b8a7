//! Checks tokens against every known key and every revocation. The settings and the key fix the
//! algorithm; a token's header only selects among the keys that are there.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, AlgorithmFamily, decode_header};
use shared::user::UserId;

use super::{
    claims::{Identity, verify},
    error::AuthError,
    jwks::JwksCache,
    keys::Key,
    revocation::Revocations,
};
use crate::files::Current;

/// Where the keys come from. At least one source has a key.
#[derive(Debug, Default)]
pub struct KeySources {
    /// Keys in the settings themselves.
    pub(crate) configured: Vec<Key>,
    /// Keys in files that are read again when they change.
    pub(crate) files: Option<Current<Vec<Key>>>,
    /// Keys that the issuer publishes.
    pub(crate) jwks: Option<JwksCache>,
}

impl From<Vec<Key>> for KeySources {
    fn from(configured: Vec<Key>) -> Self {
        Self { configured, ..Self::default() }
    }
}

impl KeySources {
    /// Returns those of `algorithms` that no key is for. A key set may publish a key for every
    /// algorithm with a public key.
    pub(crate) fn without_key(&self, algorithms: &[Algorithm]) -> Vec<Algorithm> {
        let files = self.files.as_ref().map(|files| Arc::clone(&files.borrow()));
        let files = files.as_deref().map(Vec::as_slice).unwrap_or_default();
        let has_key = |algorithm: Algorithm| {
            self.configured.iter().chain(files).any(|key| key.accepts(algorithm))
                || (self.jwks.is_some() && algorithm.family() != AlgorithmFamily::Hmac)
        };
        algorithms.iter().copied().filter(|algorithm| !has_key(*algorithm)).collect()
    }
}

/// Checks tokens.
#[derive(Debug)]
pub struct Authenticator {
    keys: KeySources,
    revocations: Revocations,
}

impl Authenticator {
    /// Returns an authenticator that accepts tokens signed with one of `keys` and not revoked.
    #[must_use]
    pub fn new(keys: KeySources, revocations: Revocations) -> Self {
        Self { keys, revocations }
    }

    /// Returns the identity that a token proves. A key that is unknown, or may have been replaced,
    /// is looked up at the issuer once.
    ///
    /// # Errors
    /// Returns why the token is refused.
    pub async fn authenticate(&self, token: Option<&str>) -> Result<Identity, AuthError> {
        let checked = self.check(token);
        let (Err(refused), Some(jwks)) = (&checked, &self.keys.jwks) else { return checked };
        let is_key_outdated = match refused {
            AuthError::UnknownKey => true,
            // The issuer may have replaced the key under the same id, or without one.
            AuthError::Invalid => {
                let header = token.and_then(|token| decode_header(token).ok());
                header.is_some_and(|header| header.alg.family() != AlgorithmFamily::Hmac)
            }
            _ => false,
        };
        if !is_key_outdated {
            return checked;
        }
        jwks.refresh().await;
        self.check(token)
    }

    /// Returns the identity that a new token proves for the connection of `user`.
    ///
    /// # Errors
    /// Returns why the token is refused: [`AuthError::OtherUser`] for a token of another user.
    pub(crate) async fn renew(&self, user: &UserId, token: &str) -> Result<Identity, AuthError> {
        let identity = self.authenticate(Some(token)).await?;
        if identity.user == *user { Ok(identity) } else { Err(AuthError::OtherUser) }
    }

    /// Whether the stored revocations were ever loaded. Until then a token may be accepted that is
    /// revoked.
    #[must_use]
    pub(crate) fn knows_revocations(&self) -> bool {
        self.revocations.are_loaded()
    }

    /// Whether an accepted token has been revoked since.
    #[must_use]
    pub(crate) fn is_revoked(&self, Identity { user, credential, .. }: &Identity) -> bool {
        self.revocations.is_revoked(user, credential)
    }

    /// As [`Authenticator::authenticate`], with the keys that are known: none is looked up.
    ///
    /// # Errors
    /// Returns why the token is refused.
    pub(crate) fn check(&self, token: Option<&str>) -> Result<Identity, AuthError> {
        let token = token.ok_or(AuthError::Missing)?;
        let header = decode_header(token).map_err(|_| AuthError::Invalid)?;
        // RFC 7515: a recipient that does not implement a critical extension must refuse the
        // token, and none is implemented here.
        if header.crit.is_some() {
            return Err(AuthError::Invalid);
        }
        let jwks = self.keys.jwks.as_ref().map(JwksCache::keys);
        let jwks = jwks.as_deref().unwrap_or_default();
        let files = self.keys.files.as_ref().map(|keys| Arc::clone(&keys.borrow()));
        let files = files.as_deref().map(Vec::as_slice).unwrap_or_default();
        let keys = self.keys.configured.iter().chain(files).chain(jwks);
        let matching = keys.filter(|key| key.matches(&header));
        // A key without an id is tried with every token, and is not the one that this names.
        let is_unknown = header.kid.is_some() && !matching.clone().any(Key::has_id);
        let mut refused = if is_unknown { AuthError::UnknownKey } else { AuthError::Invalid };
        for key in matching {
            match verify(token, key) {
                Ok(identity) if self.is_revoked(&identity) => return Err(AuthError::Revoked),
                Ok(identity) => return Ok(identity),
                // The token may be signed with the next key.
                Err(AuthError::Invalid) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

#[cfg(test)]
mod tests;
