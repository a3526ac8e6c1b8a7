//! Keys for tokens and the certificate for clients: opened before the gateway takes its ports,
//! kept up to date while it runs.

use anyhow::{Context as _, ensure};
use shared::{admin::Readiness, lifecycle::RequiredTasks};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{JwksCache, Key, KeySources},
    config::Config,
    files::{Current, WatchedFiles},
    metrics::Metrics,
};

/// What the gateway reads from files and from the issuer of tokens.
#[derive(Debug)]
pub(super) struct KeyMaterial {
    jwks: Option<JwksCache>,
    key_files: Option<WatchedFiles<Vec<Key>>>,
    certificate: Option<WatchedFiles<ServerConfig>>,
}

impl KeyMaterial {
    /// Opens every file that the settings name. Nothing is fetched from the issuer yet.
    ///
    /// # Errors
    /// Names the setting and the file that cannot be used.
    pub(super) fn open(config: &Config, metrics: &Metrics) -> anyhow::Result<Self> {
        let (rules, fetches) = (config.tokens.rules(), metrics.jwks_fetches.clone());
        let jwks = config.tokens.jwt_jwks_url.clone();
        let jwks =
            jwks.map(|url| JwksCache::new(url, &config.tokens.proxy(), rules.clone(), fetches));
        let key_files = config.tokens.key_files(config.is_production());
        let key_files = key_files.open(rules, metrics.file_reloads.clone())?;
        let certificate = config
            .tls
            .files()
            .map(|files| files.open(metrics.file_reloads.clone(), metrics.certificate_end.clone()));
        let jwks = jwks.transpose().context("JWT_JWKS_URL")?;
        Ok(Self { jwks, key_files, certificate: certificate.transpose()? })
    }

    /// Returns all keys for tokens.
    ///
    /// # Errors
    /// If a key in the settings cannot be used, or an accepted algorithm has no key.
    pub(super) fn keys(&self, config: &Config) -> anyhow::Result<KeySources> {
        let configured = config.tokens.keys();
        let keys = KeySources {
            configured: configured.map_err(|invalid| anyhow::anyhow!(invalid.join(", ")))?,
            files: self.key_files.as_ref().map(WatchedFiles::current),
            jwks: self.jwks.clone(),
        };
        let without_key = keys.without_key(&config.tokens.jwt_algorithm);
        ensure!(without_key.is_empty(), "JWT_ALGORITHM: there is no key for {without_key:?}");
        Ok(keys)
    }

    /// Fetches the key set of the issuer once; `None` without one. Returns the number of its keys.
    pub(super) async fn fetch_key_set(&self) -> Option<anyhow::Result<usize>> {
        Some(self.jwks.as_ref()?.fetch_now().await)
    }

    /// Returns the certificate for clients; `None` without TLS.
    pub(super) fn certificate(&self) -> Option<Current<ServerConfig>> {
        self.certificate.as_ref().map(WatchedFiles::current)
    }

    /// Keeps everything up to date until `shutdown`.
    pub(super) fn spawn(
        self,
        keys: &KeySources,
        tasks: &RequiredTasks,
        readiness: Readiness,
        shutdown: &CancellationToken,
    ) {
        // An unreachable issuer keeps the gateway unready only if there is no other key.
        let has_other_key = !keys.configured.is_empty() || self.key_files.is_some();
        if let Some(jwks) = self.jwks {
            let readiness = (!has_other_key).then_some(readiness);
            tasks.spawn(jwks.run(readiness, shutdown.clone()));
        }
        if let Some(files) = self.key_files {
            tasks.spawn(files.run(shutdown.clone()));
        }
        if let Some(files) = self.certificate {
            tasks.spawn(files.run(shutdown.clone()));
        }
    }
}
