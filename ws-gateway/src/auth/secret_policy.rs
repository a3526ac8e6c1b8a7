//! Which shared secrets are too weak to sign tokens in production.

use std::collections::HashSet;

/// HMAC keys shorter than the hash invite guessing (RFC 7518, section 3.2).
const MIN_BYTES: usize = 32;

/// Sixteen random bytes in hexadecimal have fewer different digits once in millions of secrets.
const MIN_DIFFERENT_BYTES: usize = 8;

/// Parts of secrets in documentation, samples and lists of leaked secrets, in lower case.
const WELL_KNOWN: &[&str] = &[
    "secret-at-least",
    "bit-secret",
    "super-secret",
    "supersecret",
    "super_secret",
    "your-secret",
    "your_secret",
    "yoursecret",
    "my-secret",
    "my_secret",
    "mysecret",
    "secret-key",
    "secret_key",
    "secretkey",
    "dev-secret",
    "test-secret",
    "jwt-secret",
    "jwt_secret",
    "change-me",
    "change_me",
    "changeme",
    "change-this",
    "change_this",
    "change-in-production",
    "change_in_production",
    "replace-me",
    "replace_me",
    "placeholder",
    "insecure",
    "password",
    "passw0rd",
    "example",
    "0123456789abcdef0123456789abcdef",
    "abcdefghijklmnopqrstuvwxyz",
];

/// Why a secret is refused in production. The text shows nothing of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WeakSecret {
    /// Fewer bytes than the hash.
    #[error("shorter than {MIN_BYTES} bytes, which ENVIRONMENT=production refuses")]
    TooShort,
    /// Few different bytes, repeated.
    #[error(
        "fewer than {MIN_DIFFERENT_BYTES} different bytes, which ENVIRONMENT=production refuses"
    )]
    Repetitive,
    /// Contains a part of a published secret.
    #[error("contains a well-known sample secret, which ENVIRONMENT=production refuses")]
    WellKnown,
}

/// Checks that a secret is strong enough for production.
///
/// # Errors
/// Returns the rule that the secret breaks.
pub(crate) fn check(secret: &str) -> Result<(), WeakSecret> {
    let text = secret.to_lowercase();
    if secret.len() < MIN_BYTES {
        Err(WeakSecret::TooShort)
    } else if secret.bytes().collect::<HashSet<_>>().len() < MIN_DIFFERENT_BYTES {
        Err(WeakSecret::Repetitive)
    } else if WELL_KNOWN.iter().any(|known| text.contains(known)) {
        Err(WeakSecret::WellKnown)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_repetitive_and_well_known_secrets_are_refused() {
        for secret in [
            "",
            "tooshort",
            &"a".repeat(64),
            &"abab".repeat(16),
            "a-string-secret-at-least-256-bits-long",
            "your-256-bit-secret-your-256-bit-secret",
            "dev-secret-key-Change-In-Production-please",
            "0123456789ABCDEF0123456789abcdef",
            "ThisIsMyPassword1234567890!!!!!!!!",
        ] {
            assert!(check(secret).is_err(), "{secret}");
        }
    }

    #[test]
    fn random_secrets_are_accepted() {
        for _ in 0..1_000 {
            let secret = uuid::Uuid::new_v4().simple().to_string();
            assert_eq!(check(&secret), Ok(()), "{secret}");
        }
        assert_eq!(check("3q2+7wX1bD0mZkq8P5v9Yw4rT6uJ0aHs"), Ok(()));
    }
}
