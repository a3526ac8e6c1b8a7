//! Revocations as Redis keeps them: a sorted set by the time when each is over, and a channel for
//! the gateways that run. Stored first and published second, and read the other way round, so
//! that none is missed.

use redis::{RedisResult, Value, cmd, from_redis_value};
use shared::{
    keys::Keys,
    redis::{RedisClient, RedisConnection},
};
use tracing::{info, warn};

use crate::{
    auth::{
        revocation::{Revocation, Revocations, Revoked},
        unix_seconds,
    },
    hub::Hub,
    metrics::Metrics,
};

/// Most revocations that are loaded, the longest lasting first.
const MOST: usize = 100_000;

/// Hands on what Redis pushes: frames to the hub, revocations to their list.
#[derive(Clone, Debug)]
pub(super) struct PushHandler {
    pub(super) revocations: Revocations,
    pub(super) hub: Hub,
    pub(super) metrics: Metrics,
    /// Whether traces are made.
    pub(super) traces: bool,
}

impl PushHandler {
    /// Takes what is stored.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub(super) async fn load(&self, reads: &RedisConnection, keys: &Keys) -> RedisResult<()> {
        let mut range = cmd("ZREVRANGEBYSCORE");
        range.arg(keys.revocations()).arg("+inf").arg(format!("({}", unix_seconds()));
        range.arg("LIMIT").arg(0).arg(MOST);
        let answer = reads.run(vec![range]).await?.pop().unwrap_or(Ok(Value::Nil));
        let texts: Vec<String> = match answer {
            Ok(Value::Nil) => Vec::new(),
            Ok(answer) => from_redis_value(answer)?,
            // Somebody else's key: no reason to serve nobody.
            Err(error) if error.code() == Some("WRONGTYPE") => {
                warn!(key = keys.revocations(), "revocations cannot be read: not a sorted set");
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if texts.len() == MOST {
            warn!(MOST, "there are more revocations than can be known");
        }
        for text in &texts {
            if let Some(revocation) = self.read(text) {
                self.revocations.add(revocation);
            }
        }
        let known = self.revocations.purge_expired();
        self.metrics.revocations.set(i64::try_from(known).unwrap_or(i64::MAX));
        if known > 0 {
            self.hub.close_revoked(None, |user, credential| {
                self.revocations.is_revoked(user, credential)
            });
        }
        Ok(())
    }

    /// Takes what was just published.
    pub(super) fn hear(&self, text: &str) {
        let Some(revocation) = self.read(text) else { return };
        info!("a revocation");
        let only = match &revocation.target {
            Revoked::User(user, _) => Some(user.clone()),
            Revoked::Token(_) => None,
        };
        // Added first: who registers in between looks here after that.
        self.revocations.add(revocation);
        let known = self.revocations.purge_expired();
        self.metrics.revocations.set(i64::try_from(known).unwrap_or(i64::MAX));
        let covered = |user: &_, credential: &_| self.revocations.is_revoked(user, credential);
        self.hub.close_revoked(only.as_ref(), covered);
    }

    fn read(&self, text: &str) -> Option<Revocation> {
        let revocation = Revocation::parse(text);
        if revocation.is_none() {
            self.metrics.malformed_frames.inc();
            warn!("a revocation cannot be read, and revokes nothing");
        }
        revocation
    }
}

/// Stores a revocation for gateways to come, and tells those that run.
///
/// # Errors
/// When Redis does not answer.
pub async fn revoke(redis: &RedisClient, revocation: &Revocation) -> RedisResult<()> {
    let commands = redis.connect().await?;
    let (key, text) = (redis.keys.revocations(), revocation.to_text());
    let mut tidy = cmd("ZREMRANGEBYSCORE");
    tidy.arg(&key).arg("-inf").arg(unix_seconds());
    let mut store = cmd("ZADD");
    store.arg(&key).arg(revocation.until).arg(&text);
    for answer in commands.run(vec![tidy, store]).await? {
        answer?;
    }
    let mut publish = cmd("PUBLISH");
    publish.arg(redis.keys.revocation_channel()).arg(&text);
    for answer in commands.run(vec![publish]).await? {
        answer?;
    }
    Ok(())
}
