//! Whether a secret is one.

/// HMAC keys shorter than the hash invite guessing (RFC 7518, 3.2).
const MIN_BYTES: usize = 32;

/// Sixteen random bytes in hexadecimal have fewer different digits once in some millions of times.
const MIN_DIFFERENT_BYTES: usize = 8;

/// What stands in documentation, samples and lists of found secrets, in lower case.
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

/// What is wrong with a secret for tokens, if it is to be taken seriously.
pub(crate) fn weakness(secret: &str) -> Option<String> {
    let different = |secret: &str| secret.bytes().collect::<std::collections::HashSet<_>>().len();
    let text = secret.to_lowercase();
    if secret.len() < MIN_BYTES {
        Some(format!("at least {MIN_BYTES} bytes with ENVIRONMENT=production"))
    } else if different(secret) < MIN_DIFFERENT_BYTES {
        Some("repeats itself, which ENVIRONMENT=production does not take".into())
    } else if WELL_KNOWN.iter().any(|known| text.contains(known)) {
        Some("looks like a sample, which ENVIRONMENT=production does not take".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_repeating_and_well_known_secrets_are_weak() {
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
            assert!(weakness(secret).is_some(), "{secret}");
        }
    }

    #[test]
    fn random_secrets_are_not() {
        for _ in 0..1_000 {
            let secret = uuid::Uuid::new_v4().simple().to_string();
            assert_eq!(weakness(&secret), None, "{secret}");
        }
        assert_eq!(weakness("3q2+7wX1bD0mZkq8P5v9Yw4rT6uJ0aHs"), None);
    }
}
