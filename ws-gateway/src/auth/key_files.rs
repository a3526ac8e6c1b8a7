//! Keys in files, which a rotation replaces while the gateway runs.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::{
    keys::{Key, TokenRules},
    secret_policy,
};
use crate::files::{Reloads, WatchedFiles};

/// The files with keys, as the settings name them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyFiles {
    /// The file with a shared secret (`JWT_SECRET_KEY_FILE`).
    pub(crate) secret: Option<PathBuf>,
    /// The file with a public key in PEM (`JWT_PUBLIC_KEY_PATH`).
    pub(crate) public_key: Option<PathBuf>,
    /// Whether a weak secret is refused.
    pub(crate) refuse_weak_secrets: bool,
}

impl KeyFiles {
    /// Reads the files; `None` if no file is named.
    ///
    /// # Errors
    /// Names the setting and the file that cannot be used.
    pub(crate) fn open(
        self,
        rules: TokenRules,
        reloads: Reloads,
    ) -> anyhow::Result<Option<WatchedFiles<Vec<Key>>>> {
        let Self { secret, public_key, refuse_weak_secrets } = self;
        let secrets = usize::from(secret.is_some());
        let paths: Vec<PathBuf> = secret.into_iter().chain(public_key).collect();
        if paths.is_empty() {
            return Ok(None);
        }
        let parse = move |contents: &[Vec<u8>]| {
            let (secret, public_key) = contents.split_at(secrets);
            let secret = secret.iter().map(|content| {
                secret_key(content, refuse_weak_secrets, &rules).context("JWT_SECRET_KEY_FILE")
            });
            let public_key = public_key
                .iter()
                .map(|content| public_key_of(content, &rules).context("JWT_PUBLIC_KEY_PATH"));
            secret.chain(public_key).collect()
        };
        WatchedFiles::open("keys", paths, Box::new(parse), reloads).map(Some)
    }
}

fn secret_key(content: &[u8], refuse_weak: bool, rules: &TokenRules) -> anyhow::Result<Key> {
    let text = std::str::from_utf8(content).context("not UTF-8")?;
    let secret = text.trim_end_matches(['\r', '\n']);
    ensure!(!secret.is_empty(), "the file is empty");
    if refuse_weak {
        secret_policy::check(secret)?;
    }
    Ok(Key::from_secret(&secret.into(), rules)?)
}

fn public_key_of(content: &[u8], rules: &TokenRules) -> anyhow::Result<Key> {
    Ok(Key::from_pem(std::str::from_utf8(content).context("not UTF-8")?, rules)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jsonwebtoken::Algorithm;

    use super::*;

    fn rules() -> TokenRules {
        TokenRules::new(&[Algorithm::HS256, Algorithm::EdDSA], None, None, Duration::ZERO)
    }

    #[test]
    fn a_secret_ends_before_the_line_break_and_may_not_be_weak_in_production() {
        assert!(secret_key(b"short\r\n", false, &rules()).is_ok());
        for (content, refuse_weak) in [(&b"short"[..], true), (b"\n", false), (b"\xff", false)] {
            assert!(secret_key(content, refuse_weak, &rules()).is_err(), "{content:?}");
        }
    }

    #[test]
    fn a_public_key_file_that_holds_something_else_is_refused() {
        assert!(public_key_of(include_bytes!("test_keys/ed.pub.pem"), &rules()).is_ok());
        assert!(public_key_of(b"secret", &rules()).is_err());
    }
}
