//! The keys that the issuer publishes as a JSON Web Key Set. Fetched at start, again every few
//! minutes, and once more when a token names a key that is not among them. While the issuer is
//! away the last good set stays in use.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use shared::admin::Readiness;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::keys::{Key, Rules};
use crate::files::{ReloadResult, Reloads};

/// How often the set is fetched; how long a key that was withdrawn stays in use.
const REFRESH: Duration = Duration::from_mins(5);
/// The pause after a fetch that failed.
const RETRY: Duration = Duration::from_secs(10);
/// The least time between two reloads that tokens with unknown keys ask for.
const COOL_DOWN: Duration = Duration::from_secs(5);
/// Longest time for an answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes; a set has a few keys of some hundred bytes.
const MOST_BYTES: usize = 256 << 10;
/// Most keys of a set. A token that names none is tried with each.
const MOST_KEYS: usize = 16;

/// The condition that holds once there are keys.
const READINESS: &str = "keys";

/// The published keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JwksCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    url: Uri,
    rules: Rules,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    keys: RwLock<Arc<[Key]>>,
    /// When the last fetch ended; held while one is under way, so that there is only one.
    fetched: Mutex<Option<Instant>>,
    reloads: Reloads,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl JwksCache {
    /// Keys that will be fetched from `url`.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(url: Uri, rules: Rules, reloads: Reloads) -> anyhow::Result<Self> {
        let tls = HttpsConnectorBuilder::new().with_native_roots().context("root certificates")?;
        let connector = tls.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let keys = RwLock::new(Arc::from([]));
        let fetched = Mutex::default();
        Ok(Self(Arc::new(Shared { url, rules, client, keys, fetched, reloads })))
    }

    /// The keys as they are now.
    #[must_use]
    pub fn keys(&self) -> Arc<[Key]> {
        // The set is replaced as a whole, so a panic elsewhere does not spoil it.
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the keys fresh until `shutdown`.
    pub async fn run(self, readiness: Readiness, shutdown: CancellationToken) {
        readiness.set(READINESS, false);
        let mut worked = None;
        let refresh = async {
            loop {
                let fetched = self.fetch(&mut *self.0.fetched.lock().await).await;
                let works = fetched.is_ok();
                // A line when it begins and when it ends, not one for each attempt.
                if worked != Some(works) {
                    match fetched {
                        Ok(keys) => info!(keys, "key set fetched"),
                        Err(error) => warn!("JWT_JWKS_URL: {error:#}; trying on"),
                    }
                }
                worked = Some(works);
                if works {
                    readiness.set(READINESS, true);
                }
                sleep(if works { REFRESH } else { RETRY }).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = refresh => {}
        }
    }

    /// Fetches the set because a token names an unknown key, unless that was just done.
    pub async fn look_again(&self) {
        let mut fetched = self.0.fetched.lock().await;
        if fetched.is_none_or(|fetched| fetched.elapsed() >= COOL_DOWN)
            && let Err(error) = self.fetch(&mut fetched).await
        {
            tracing::debug!("JWT_JWKS_URL: {error:#}");
        }
    }

    /// Fetches the set and puts it in the place of the old one; how many keys it has.
    async fn fetch(&self, fetched: &mut Option<Instant>) -> anyhow::Result<usize> {
        let answer = timeout(FETCH_TIMEOUT, self.request()).await;
        *fetched = Some(Instant::now());
        let keys = answer
            .context("no answer in time")
            .flatten()
            .and_then(|body| parse(&body, &self.0.rules));
        let result = if keys.is_ok() { ReloadResult::Ok } else { ReloadResult::Failed };
        self.0.reloads.of(result).inc();
        let keys = keys?;
        let count = keys.len();
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(count)
    }

    async fn request(&self) -> anyhow::Result<Bytes> {
        let answer = self.0.client.get(self.0.url.clone()).await.context("cannot be reached")?;
        let status = answer.status();
        ensure!(status == StatusCode::OK, "answered with {status}");
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error)).context("broken or too large")?;
        Ok(body.to_bytes())
    }
}

/// The usable keys of a set; one that is not usable does not spoil the others.
fn parse(body: &[u8], rules: &Rules) -> anyhow::Result<Vec<Key>> {
    let Document { keys } = serde_json::from_slice(body).context("not a key set")?;
    let usable = |key| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        Key::from_jwk(&jwk, rules).ok()
    };
    let keys: Vec<Key> = keys.into_iter().filter_map(usable).take(MOST_KEYS).collect();
    ensure!(!keys.is_empty(), "no usable key in the set");
    Ok(keys)
}

#[cfg(test)]
mod tests;
