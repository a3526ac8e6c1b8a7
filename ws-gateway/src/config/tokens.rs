//! Settings of token checks: keys, algorithms and claims.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use shared::config::{Secret, duration};

use crate::auth::{Key, KeyFiles, KeySources, TokenRules, jwks::ProxySettings, secret_policy};

/// Tokens and keys.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TokenSettings {
    /// Secret that signs tokens (HS256, HS384, HS512)
    #[arg(long, env = "JWT_SECRET_KEY", hide_env_values = true)]
    pub(crate) jwt_secret_key: Option<Secret>,
    /// File with a secret like `JWT_SECRET_KEY`, read again when it changes; line breaks at its end
    /// are ignored
    #[arg(long, env = "JWT_SECRET_KEY_FILE")]
    pub(crate) jwt_secret_key_file: Option<PathBuf>,
    /// Previous secret, accepted in addition to `JWT_SECRET_KEY` during a rotation
    #[arg(long, env = "JWT_SECRET_KEY_PREVIOUS", hide_env_values = true)]
    pub(crate) jwt_secret_key_previous: Option<Secret>,
    /// Public key, in PEM, of the key pair that signs tokens (RS, PS, ES, `EdDSA`)
    #[arg(long, env = "JWT_PUBLIC_KEY")]
    pub(crate) jwt_public_key: Option<String>,
    /// File with a public key like `JWT_PUBLIC_KEY`, read again when it changes
    #[arg(long, env = "JWT_PUBLIC_KEY_PATH")]
    pub(crate) jwt_public_key_path: Option<PathBuf>,
    /// URL of the JSON Web Key Set (JWKS) of the issuer
    #[arg(long, env = "JWT_JWKS_URL", value_parser = key_set_url)]
    pub(crate) jwt_jwks_url: Option<Uri>,
    /// Forward proxy for an `https` `JWT_JWKS_URL`, as in `http://proxy.example.org:3128`
    #[arg(long, env = "HTTPS_PROXY", hide_env_values = true)]
    pub(crate) https_proxy: Option<Secret>,
    /// Hosts and networks that are reached without `HTTPS_PROXY`, separated by commas
    #[arg(long, env = "NO_PROXY")]
    pub(crate) no_proxy: Option<String>,
    /// Accepted signature algorithms, separated by commas; each is used only with keys of its own
    /// family
    #[arg(long, env = "JWT_ALGORITHM", default_value = "HS256", value_delimiter = ',', value_parser = algorithm)]
    pub(crate) jwt_algorithm: Vec<Algorithm>,
    /// Audience (`aud`) that tokens must name; unset: not checked
    #[arg(long, env = "JWT_AUDIENCE")]
    pub(crate) jwt_audience: Option<String>,
    /// Issuer (`iss`) that tokens must name; unset: not checked
    #[arg(long, env = "JWT_ISSUER")]
    pub(crate) jwt_issuer: Option<String>,
    /// How far `iat` and `nbf` may be in the future, as the clock of the issuer may be ahead; `exp`
    /// is not extended
    #[arg(long, env = "JWT_LEEWAY", default_value = "5s", value_parser = leeway)]
    pub(crate) jwt_leeway: Duration,
    /// How long a connection outlives its token, so that the client may renew it a little late
    #[arg(long, env = "JWT_EXPIRY_GRACE", default_value = "5s", value_parser = duration)]
    pub(crate) jwt_expiry_grace: Duration,
}

/// A clock that is further off is wrong, and `revoke --user` would refuse new tokens for as long.
const MAX_LEEWAY: Duration = Duration::from_mins(10);

const NO_KEY: &str = "no key to check tokens with: set JWT_SECRET_KEY, \
                      JWT_SECRET_KEY_FILE, JWT_PUBLIC_KEY, JWT_PUBLIC_KEY_PATH or JWT_JWKS_URL, and JWT_ALGORITHM to match";

impl TokenSettings {
    /// Returns every problem of these settings together.
    #[must_use]
    pub(crate) fn problems(&self, in_production: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if in_production {
            problems.extend(self.weak_secrets());
        }
        match self.keys() {
            Ok(keys) if keys.is_empty() && !self.has_key_file() && self.jwt_jwks_url.is_none() => {
                problems.push(NO_KEY.into());
            }
            Ok(keys) => problems.extend(self.without_key(keys)),
            Err(invalid) => problems.extend(invalid),
        }
        problems
    }

    /// Returns what every token must satisfy.
    #[must_use]
    pub(crate) fn rules(&self) -> TokenRules {
        let (audience, issuer) = (self.jwt_audience.as_deref(), self.jwt_issuer.as_deref());
        TokenRules::new(&self.jwt_algorithm, audience, issuer, self.jwt_leeway)
    }

    /// Returns the keys in the settings themselves.
    ///
    /// # Errors
    /// Names every setting with a key that cannot be used.
    pub(crate) fn keys(&self) -> Result<Vec<Key>, Vec<String>> {
        let rules = self.rules();
        let secret = |secret: &Option<Secret>| {
            secret.as_ref().map(|secret| Key::from_secret(secret, &rules))
        };
        let configured = [
            ("JWT_SECRET_KEY", secret(&self.jwt_secret_key)),
            ("JWT_SECRET_KEY_PREVIOUS", secret(&self.jwt_secret_key_previous)),
            (
                "JWT_PUBLIC_KEY",
                self.jwt_public_key.as_deref().map(|pem| Key::from_pem(pem, &rules)),
            ),
        ];
        let (mut keys, mut invalid) = (Vec::new(), Vec::new());
        for (setting, key) in configured {
            match key {
                Some(Ok(key)) => keys.push(key),
                Some(Err(problem)) => invalid.push(format!("{setting}: {problem}")),
                None => {}
            }
        }
        if invalid.is_empty() { Ok(keys) } else { Err(invalid) }
    }

    /// Returns the files with further keys.
    #[must_use]
    pub(crate) fn key_files(&self, in_production: bool) -> KeyFiles {
        KeyFiles {
            secret: self.jwt_secret_key_file.clone(),
            public_key: self.jwt_public_key_path.clone(),
            refuse_weak_secrets: in_production,
        }
    }

    /// Returns the forward proxy for the key set.
    #[must_use]
    pub(crate) fn proxy(&self) -> ProxySettings {
        ProxySettings { https_proxy: self.https_proxy.clone(), no_proxy: self.no_proxy.clone() }
    }

    fn has_key_file(&self) -> bool {
        self.jwt_secret_key_file.is_some() || self.jwt_public_key_path.is_some()
    }

    /// Returns a problem for each secret that is too weak for production.
    fn weak_secrets(&self) -> impl Iterator<Item = String> {
        let secrets = [
            ("JWT_SECRET_KEY", &self.jwt_secret_key),
            ("JWT_SECRET_KEY_PREVIOUS", &self.jwt_secret_key_previous),
        ];
        secrets.into_iter().filter_map(|(setting, secret)| {
            let weak = secret_policy::check(secret.as_ref()?.expose()).err()?;
            Some(format!("{setting}: {weak}"))
        })
    }

    /// Returns a problem for each algorithm that no key in the settings is for. Which algorithms
    /// a key file is for shows when it is opened, not here.
    fn without_key(&self, configured: Vec<Key>) -> Vec<String> {
        let from_file = |algorithm: &Algorithm| match algorithm.family() {
            AlgorithmFamily::Hmac => self.jwt_secret_key_file.is_some(),
            _ => self.jwt_public_key_path.is_some() || self.jwt_jwks_url.is_some(),
        };
        let sources = KeySources { configured, ..KeySources::default() };
        let missing = sources.without_key(&self.jwt_algorithm).into_iter();
        let missing = missing.filter(|algorithm| !from_file(algorithm));
        missing
            .map(|algorithm| format!("JWT_ALGORITHM: there is no key for {algorithm:?}"))
            .collect()
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let known = "one of HS, RS, PS 256, 384, 512, ES256, ES384, EdDSA, as in RS256";
    name.trim().parse().map_err(|_| known.to_owned())
}

fn key_set_url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| "not a URL".to_owned())?;
    match url.scheme_str() {
        Some("https" | "http") if url.host().is_some() => Ok(url),
        _ => Err("a URL like https://issuer.example.org/.well-known/jwks.json".into()),
    }
}

fn leeway(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        leeway if leeway > MAX_LEEWAY => Err("at most 10m".into()),
        leeway => Ok(leeway),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use shared::config::Validate as _;

    use super::*;
    use crate::config::Config;

    fn problems(arguments: &[&str]) -> Vec<String> {
        let mut config = Config::try_parse_from([&["ws-gateway"], arguments].concat()).unwrap();
        config.tokens.jwt_secret_key = Some("short".into());
        config.problems()
    }

    #[test]
    fn without_a_key_the_settings_that_would_give_one_are_named() {
        let mut config = Config::try_parse_from(["ws-gateway"]).unwrap();
        config.tokens.jwt_secret_key = None;
        assert!(config.problems().iter().any(|problem| problem.contains("JWT_SECRET_KEY")));
    }

    #[test]
    fn a_short_secret_is_refused_in_production_only() {
        assert_eq!(problems(&["--environment", "development"]), Vec::<String>::new());
        assert_eq!(problems(&["--environment", "Production"]).len(), 1);
    }

    #[test]
    fn a_key_and_an_algorithm_go_together() {
        let problems = |arguments: &[&str]| problems(arguments).join("; ");
        assert!(problems(&["--jwt-algorithm", "RS256"]).contains("JWT_SECRET_KEY: no algorithm"));
        let unused = problems(&["--jwt-algorithm", "HS256,RS256"]);
        assert_eq!(unused, "JWT_ALGORITHM: there is no key for RS256");
        assert!(problems(&["--jwt-public-key", "x"]).contains("JWT_PUBLIC_KEY: not a public key"));
        let file =
            problems(&["--jwt-algorithm", "HS256,RS256", "--jwt-public-key-path", "/nowhere"]);
        assert_eq!(file, "", "files are not opened here");
    }

    #[test]
    fn only_known_algorithms_are_accepted() {
        assert_eq!(algorithm(" HS512"), Ok(Algorithm::HS512));
        for other in ["none", "None", "hs256", "ES512", ""] {
            assert!(algorithm(other).is_err(), "{other}");
        }
    }
}
