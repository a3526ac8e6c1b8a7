//! Revocations in Redis: a sorted set with the time until which each is kept, and a channel
//! to the running gateways. They are stored first and published second, and gateways subscribe
//! first and read second, so that none is missed.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use redis::{RedisResult, Value, cmd};
use shared::{
    audit,
    keys::Keys,
    redis::{RedisClient, RedisConnection},
};
use tracing::{debug, info, warn};

use super::reply::{items, text, user_reply};
use crate::{
    auth::{
        revocation::{Revocation, Revocations, Revoked},
        unix_seconds,
    },
    hub::Hub,
    metrics::{Metrics, RedisUserError},
};

/// The maximum number of revocations that are loaded; those that last longest come first.
const MAX_LOADED: usize = 100_000;

/// Takes over revocations and closes the connections that they concern.
#[derive(Clone, Debug)]
pub(super) struct RevocationList {
    revocations: Revocations,
    hub: Hub,
    metrics: Metrics,
    /// How many stored revocations were unreadable at the last load.
    unreadable: Arc<AtomicUsize>,
}

/// Which of the stored revocations are known after an attempt to load them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownRevocations {
    /// All.
    Current,
    /// Those of an earlier load: no master returns their key at present.
    Earlier,
    /// None, as there was no earlier load.
    None,
}

impl RevocationList {
    pub(super) fn new(revocations: Revocations, hub: Hub, metrics: Metrics) -> Self {
        Self { revocations, hub, metrics, unreadable: Arc::default() }
    }

    /// Loads the stored revocations. An unreadable one is skipped and counted.
    ///
    /// # Errors
    /// If Redis does not reply, or refuses the command for another reason than that the slot is
    /// moving or has no owner.
    pub(super) async fn load(
        &self,
        connection: &RedisConnection,
        keys: &Keys,
    ) -> RedisResult<KnownRevocations> {
        let mut range = cmd("ZREVRANGEBYSCORE");
        range.arg(keys.revocations()).arg("+inf").arg(format!("({}", unix_seconds()));
        range.arg("LIMIT").arg(0).arg(MAX_LOADED);
        self.read_reply(connection.run_one(range).await, &keys.revocations())
    }

    fn read_reply(&self, reply: RedisResult<Value>, key: &str) -> RedisResult<KnownRevocations> {
        let stored = match user_reply(reply.clone())? {
            Ok(value) => items(value),
            Err(RedisUserError::WrongType) => None,
            Err(kind @ RedisUserError::SlotMoving) => {
                self.metrics.redis_user_errors.of(kind).inc();
                let was_loaded = self.revocations.are_loaded();
                warn!(
                    redis.key = key,
                    was_loaded, "revocations not loaded: their slot is moving or has no owner"
                );
                let known = KnownRevocations::Earlier;
                return Ok(if was_loaded { known } else { KnownRevocations::None });
            }
            Err(_) => return reply.map(|_| KnownRevocations::None),
        };
        if let Some(stored) = stored {
            self.load_all(&stored);
        } else {
            self.metrics.malformed_frames.inc();
            warn!(redis.key = key, "revocations unreadable, expected a sorted set");
        }
        self.revocations.set_loaded();
        Ok(KnownRevocations::Current)
    }

    fn load_all(&self, stored: &[Value]) {
        if stored.len() == MAX_LOADED {
            warn!(limit = MAX_LOADED, "too many revocations, some are not loaded");
        }
        let mut unreadable = 0;
        for value in stored {
            match self.read(text(value)) {
                Some(revocation) => self.apply(revocation),
                None => unreadable += 1,
            }
        }
        let before = self.unreadable.swap(unreadable, Ordering::Relaxed);
        if unreadable > 0 && unreadable != before {
            warn!(unreadable, "unreadable revocations skipped");
        }
        self.revocations.purge_expired();
        self.count();
    }

    /// Takes over a revocation that was just published. Its cost must not depend on how many are
    /// known: the task that calls it reads the frames. Expired ones are purged at the next load.
    pub(super) fn receive(&self, published: &str) {
        let Some(revocation) = self.read(Some(published)) else { return };
        let (by, until) = (revocation.by.as_deref(), revocation.until);
        match &revocation.target {
            Revoked::User(user, _) => {
                info!(
                    target: audit::TARGET,
                    by,
                    user.id = %user,
                    until,
                    "tokens revoked by operator"
                );
            }
            Revoked::Token(id) => {
                info!(target: audit::TARGET, by, jti = ?id, until, "token revoked by operator");
            }
        }
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
            debug!(text, "unreadable revocation skipped");
        }
        revocation
    }
}

/// Stores a revocation for gateways that start later, and publishes it to those that run.
///
/// # Errors
/// If Redis does not reply.
pub(crate) async fn revoke(redis: &RedisClient, revocation: &Revocation) -> RedisResult<()> {
    let connection = redis.connect().await?;
    let (key, text) = (redis.keys.revocations(), revocation.to_text());
    let mut purge = cmd("ZREMRANGEBYSCORE");
    purge.arg(&key).arg("-inf").arg(unix_seconds());
    let mut store = cmd("ZADD");
    store.arg(&key).arg(revocation.until).arg(&text);
    let mut publish = cmd("PUBLISH");
    publish.arg(redis.keys.revocation_channel()).arg(&text);
    for command in [purge, store, publish] {
        connection.run_one(command).await?;
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
    fn a_slot_without_an_owner_keeps_the_earlier_revocations_and_other_errors_end_the_session() {
        let metrics = Metrics::new(&Registry::new());
        let hub = Hub::new(hub::Limits::SMALL, metrics.clone());
        let list = RevocationList::new(Revocations::default(), hub, metrics);
        let load = |reply: &str| {
            let reply = redis::parse_redis_value(format!("{reply}\r\n").as_bytes());
            list.read_reply(reply.and_then(Value::extract_error), "ws:revoked").ok()
        };
        let moving =
            ["-ASK 7 h:1", "-MOVED 7 h:1", "-TRYAGAIN x", "-CLUSTERDOWN Hash slot not served"];
        for (before, known) in [
            (None, KnownRevocations::None),
            (Some("*0"), KnownRevocations::Earlier),
            (Some("-WRONGTYPE x"), KnownRevocations::Earlier),
        ] {
            assert!(before.is_none_or(|reply| load(reply) == Some(KnownRevocations::Current)));
            for reply in moving {
                assert_eq!(load(reply), Some(known), "{reply}");
            }
        }
        for reply in ["-NOPERM x", "-CLUSTERDOWN The cluster is down", "-LOADING x"] {
            assert_eq!(load(reply), None, "{reply}");
        }
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
