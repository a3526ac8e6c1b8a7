//! Revocations in Redis: a sorted set with the time until which each is kept, and a channel
//! to the running gateways. They are stored first and published second, and gateways subscribe
//! first and read second, so that none is missed.

use redis::{RedisResult, Value, cmd};
use shared::{
    keys::Keys,
    redis::{RedisClient, RedisConnection},
};
use tracing::{info, warn};

use super::reply::{items, text};
use crate::{
    auth::{
        revocation::{Revocation, Revocations},
        unix_seconds,
    },
    hub::Hub,
    metrics::Metrics,
};

/// The maximum number of revocations that are loaded; those that last longest come first.
const MAX_LOADED: usize = 100_000;

/// Takes over revocations and closes the connections that they concern.
#[derive(Clone, Debug)]
pub(super) struct RevocationList {
    revocations: Revocations,
    hub: Hub,
    metrics: Metrics,
}

impl RevocationList {
    pub(super) fn new(revocations: Revocations, hub: Hub, metrics: Metrics) -> Self {
        Self { revocations, hub, metrics }
    }

    /// Loads the stored revocations. An unreadable one is skipped and counted.
    ///
    /// # Errors
    /// If Redis does not reply.
    pub(super) async fn load(&self, connection: &RedisConnection, keys: &Keys) -> RedisResult<()> {
        let mut range = cmd("ZREVRANGEBYSCORE");
        range.arg(keys.revocations()).arg("+inf").arg(format!("({}", unix_seconds()));
        range.arg("LIMIT").arg(0).arg(MAX_LOADED);
        let reply = connection.run_where_moved(vec![range]).await?.pop().unwrap_or(Ok(Value::Nil));
        let stored = match reply {
            Err(error) if error.code() == Some("WRONGTYPE") => None,
            reply => items(reply?),
        };
        let Some(stored) = stored else {
            self.metrics.malformed_frames.inc();
            warn!(redis.key = keys.revocations(), "revocations unreadable, expected a sorted set");
            return Ok(());
        };
        self.load_all(&stored);
        Ok(())
    }

    fn load_all(&self, stored: &[Value]) {
        if stored.len() == MAX_LOADED {
            warn!(limit = MAX_LOADED, "too many revocations, some are not loaded");
        }
        for revocation in stored.iter().filter_map(|value| self.read(text(value))) {
            self.apply(revocation);
        }
        self.revocations.purge_expired();
        self.count();
    }

    /// Takes over a revocation that was just published. Its cost must not depend on how many are
    /// known: the task that calls it reads the frames. Expired ones are purged at the next load.
    pub(super) fn receive(&self, published: &str) {
        let Some(revocation) = self.read(Some(published)) else { return };
        info!("revocation received");
        self.apply(revocation);
        self.count();
    }

    /// Adds a revocation before it checks the connections: a new connection checks the list after
    /// it has registered.
    fn apply(&self, revocation: Revocation) {
        let target = revocation.target.clone();
        if self.revocations.add(revocation) {
            self.hub.close_revoked(&target, |user, credential| {
                self.revocations.is_revoked(user, credential)
            });
        }
    }

    fn count(&self) {
        let count = self.revocations.count();
        self.metrics.revocations.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn read(&self, text: Option<&str>) -> Option<Revocation> {
        let revocation = text.and_then(Revocation::parse);
        if revocation.is_none() {
            self.metrics.malformed_frames.inc();
            warn!("unreadable revocation skipped");
        }
        revocation
    }
}

/// Stores a revocation for gateways that start later, and publishes it to those that run.
///
/// # Errors
/// If Redis does not reply.
pub(crate) async fn revoke(redis: &RedisClient, revocation: &Revocation) -> RedisResult<()> {
    let commands = redis.connect().await?;
    let (key, text) = (redis.keys.revocations(), revocation.to_text());
    let mut purge = cmd("ZREMRANGEBYSCORE");
    purge.arg(&key).arg("-inf").arg(unix_seconds());
    let mut store = cmd("ZADD");
    store.arg(&key).arg(revocation.until).arg(&text);
    for reply in commands.run(vec![purge, store]).await? {
        reply?;
    }
    let mut publish = cmd("PUBLISH");
    publish.arg(redis.keys.revocation_channel()).arg(&text);
    for reply in commands.run(vec![publish]).await? {
        reply?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use shared::user::UserId;

    use super::*;
    use crate::{auth::Credential, hub};

    #[test]
    fn an_unreadable_revocation_is_skipped_and_counted_and_the_others_are_loaded() {
        let metrics = Metrics::new(&Registry::new());
        let hub = Hub::new(hub::Limits::SMALL, metrics.clone());
        let list = RevocationList::new(Revocations::default(), hub, metrics);
        let until = unix_seconds() + 60;
        let stored = [
            Value::BulkString(vec![0xff]),
            Value::Int(1),
            Value::BulkString(b"{}".into()),
            Value::BulkString(format!(r#"{{"user":"u","until":{until}}}"#).into_bytes()),
        ];
        list.load_all(&stored);
        assert_eq!(list.metrics.malformed_frames.get(), 3);
        let user = UserId::new("u").unwrap();
        assert!(list.revocations.is_revoked(&user, &Credential::default()));
    }

    #[test]
    fn expired_revocations_are_purged_when_stored_ones_are_loaded_and_not_at_each_published_one() {
        let metrics = Metrics::new(&Registry::new());
        let hub = Hub::new(hub::Limits::SMALL, metrics.clone());
        let list = RevocationList::new(Revocations::default(), hub, metrics);
        let now = unix_seconds();
        for (id, until) in [("expired", now), ("revoked", now + 60), ("revoked", now + 90)] {
            list.receive(&format!(r#"{{"jti":"{id}","until":{until}}}"#));
        }
        assert_eq!(list.metrics.revocations.get(), 2);
        list.load_all(&[]);
        assert_eq!(list.metrics.revocations.get(), 1);
    }
}
