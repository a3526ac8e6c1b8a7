//! The keys that the issuer publishes as a JSON Web Key Set: fetched at start, every few minutes,
//! and when a token names an unknown key. While the issuer is unreachable the last valid set stays
//! in use.

mod issuer;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use hyper::Uri;
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use shared::{admin::Readiness, backoff::Backoff};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::keys::{Key, TokenRules};
use crate::files::{ReloadResult, Reloads};
use issuer::Issuer;
pub(crate) use issuer::ProxySettings;

/// How often the set is fetched, and so how long a key that was withdrawn stays in use.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);
/// The delays after failed fetches.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// The least time between two fetches that tokens with unknown keys cause.
const COOL_DOWN: Duration = Duration::from_secs(5);
/// The time limit of a fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Most keys of a set. A token without a `kid` is checked with each.
const MAX_KEYS: usize = 16;

/// The readiness condition that holds once there are keys.
const READINESS: &str = "keys";

/// The published keys. Cheap to clone; clones are the same cache.
#[derive(Clone, Debug)]
pub(crate) struct JwksCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    issuer: Issuer,
    rules: TokenRules,
    keys: RwLock<Arc<[Key]>>,
    /// When the last fetch ended. Locked during a fetch, so that there is one at a time.
    fetched_at: Mutex<Option<Instant>>,
    fetches: Reloads,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

impl JwksCache {
    /// Returns an empty cache of the set at `url`.
    ///
    /// # Errors
    /// If the system's root certificates cannot be read or the proxy cannot be used.
    pub(crate) fn new(
        url: Uri,
        proxy: &ProxySettings,
        rules: TokenRules,
        fetches: Reloads,
    ) -> anyhow::Result<Self> {
        let issuer = Issuer::new(url, proxy)?;
        let keys = RwLock::new(Arc::from([]));
        let fetched_at = Mutex::default();
        Ok(Self(Arc::new(Shared { issuer, rules, keys, fetched_at, fetches })))
    }

    /// Returns the last valid set.
    #[must_use]
    pub(crate) fn keys(&self) -> Arc<[Key]> {
        // The set is replaced as a whole, so a panic elsewhere leaves it intact.
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the set at start and every few minutes until `shutdown`. With `readiness` the
    /// gateway is not ready before the first set: it has no other key.
    pub(crate) async fn run(self, readiness: Option<Readiness>, shutdown: CancellationToken) {
        let set_ready = |is_ready| {
            if let Some(readiness) = &readiness {
                readiness.set(READINESS, is_ready);
            }
        };
        set_ready(false);
        let (mut last_ok, mut backoff) = (None, BACKOFF);
        let refresh = async {
            loop {
                let fetched = self.fetch(&mut *self.0.fetched_at.lock().await).await;
                let ok = fetched.is_ok();
                // One log line per outage and per recovery.
                if last_ok != Some(ok) {
                    match fetched {
                        Ok(keys) => info!(keys, "fetched the key set from JWT_JWKS_URL"),
                        Err(error) => {
                            warn!(
                                error = format!("{error:#}"),
                                "fetching JWT_JWKS_URL failed, retrying"
                            );
                        }
                    }
                }
                last_ok = Some(ok);
                if ok {
                    set_ready(true);
                    backoff.reset();
                }
                sleep(if ok { REFRESH_INTERVAL } else { backoff.next_delay() }).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = refresh => {}
        }
    }

    /// Fetches the set, whenever that was last done. Returns the number of keys.
    ///
    /// # Errors
    /// If the issuer does not return a usable set in time.
    pub(crate) async fn fetch_now(&self) -> anyhow::Result<usize> {
        self.fetch(&mut *self.0.fetched_at.lock().await).await
    }

    /// Fetches the set because a token names an unknown key, at most once per cool-down.
    pub(crate) async fn refresh(&self) {
        let mut fetched_at = self.0.fetched_at.lock().await;
        if fetched_at.is_none_or(|at| at.elapsed() >= COOL_DOWN)
            && let Err(error) = self.fetch(&mut fetched_at).await
        {
            debug!(error = format!("{error:#}"), "fetching JWT_JWKS_URL for an unknown key failed");
        }
    }

    /// Replaces the set by the one that the issuer publishes now. Returns the number of keys.
    async fn fetch(&self, fetched_at: &mut Option<Instant>) -> anyhow::Result<usize> {
        let response = timeout(FETCH_TIMEOUT, self.0.issuer.fetch()).await;
        *fetched_at = Some(Instant::now());
        let keys = response
            .context("no answer in time")
            .flatten()
            .and_then(|body| parse(&body, &self.0.rules));
        self.0.fetches.of(if keys.is_ok() { ReloadResult::Ok } else { ReloadResult::Failed }).inc();
        let keys = keys?;
        let count = keys.len();
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(count)
    }
}

/// Returns the usable keys of a set. An unusable key does not affect the others.
fn parse(body: &[u8], rules: &TokenRules) -> anyhow::Result<Vec<Key>> {
    let KeySet { keys } = serde_json::from_slice(body).context("not a key set")?;
    let usable = |key| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        Key::from_jwk(&jwk, rules).ok()
    };
    let keys: Vec<Key> = keys.into_iter().filter_map(usable).take(MAX_KEYS).collect();
    ensure!(!keys.is_empty(), "no usable key in the set");
    Ok(keys)
}

#[cfg(test)]
mod tests;
