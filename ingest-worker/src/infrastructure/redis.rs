//! The publisher and the owner directory on Redis: one multiplexed connection, one pipeline a
//! batch. A connection that failed in any way is dropped; the next attempt opens a new one.

use std::time::Duration;

use redis::{ErrorKind, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use shared::{redis::Redis, user::UserId};
use tokio::sync::Mutex;
use tracing::info;

use crate::{
    domain::recipients::{Owned, OwnerDirectory},
    notification::publisher::{Delivery, NotNow, Publisher, Receipt},
};

/// How long and how much Redis remembers.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// How long an event that was published is known.
    pub seen: Duration,
    /// How long a user's history is kept after the last notification.
    pub history: Duration,
    /// About how many notifications a user's history holds.
    pub history_length: usize,
    /// How long an owner is known after it was last named.
    pub owners: Duration,
}

/// Redis, as the worker uses it. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct RedisStore {
    redis: Redis,
    retention: Retention,
    connection: std::sync::Arc<Mutex<Option<Connection>>>,
}

#[derive(Clone, Debug)]
struct Connection {
    multiplexed: MultiplexedConnection,
    /// The name under which this server knows the script.
    script: String,
}

const PUBLISH_ONCE: &str = include_str!("publish_once.lua");

impl RedisStore {
    /// Takes the settings; the first use connects.
    #[must_use]
    pub fn new(redis: Redis, retention: Retention) -> Self {
        Self { redis, retention, connection: std::sync::Arc::default() }
    }

    /// Makes sure that there is a connection.
    ///
    /// # Errors
    /// [`NotNow`] if Redis cannot be used.
    pub async fn ready(&self) -> Result<(), NotNow> {
        let mut ping = redis::pipe();
        ping.cmd("PING");
        self.run(ping).await.map(|_| ())
    }

    /// Runs a pipeline and returns its results, all of them good.
    async fn run(&self, mut pipeline: Pipeline) -> Result<Vec<Value>, NotNow> {
        let mut connection = self.connection().await.map_err(|error| not_now(&error))?.multiplexed;
        pipeline.ignore_errors();
        let results = pipeline.query_async::<Vec<RedisResult<Value>>>(&mut connection).await;
        match results.and_then(|results| results.into_iter().collect()) {
            Ok(values) => Ok(values),
            Err(error) => {
                *self.connection.lock().await = None;
                Err(not_now(&error))
            }
        }
    }

    async fn connection(&self) -> RedisResult<Connection> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let mut multiplexed = self.redis.connect().await?;
        let script = redis::cmd("SCRIPT")
            .arg("LOAD")
            .arg(PUBLISH_ONCE)
            .query_async(&mut multiplexed)
            .await?;
        info!("connected to Redis");
        let connection = Connection { multiplexed, script };
        *slot = Some(connection.clone());
        Ok(connection)
    }

    fn owner_key(&self, owned: &Owned) -> String {
        match owned {
            Owned::Batch(id) => self.redis.keys.batch_owner(id),
            Owned::Class(id) => self.redis.keys.class_owner(id),
        }
    }
}

impl Publisher for RedisStore {
    async fn publish(&self, deliveries: &[Delivery]) -> Result<Vec<Receipt>, NotNow> {
        let script = self.connection().await.map_err(|error| not_now(&error))?.script;
        let keys = &self.redis.keys;
        let mut pipeline = Pipeline::with_capacity(deliveries.len());
        for Delivery { user, identity, text } in deliveries {
            pipeline
                .cmd("EVALSHA")
                .arg(&script)
                .arg(3)
                .arg(keys.seen(user, identity))
                .arg(keys.stream(user))
                .arg(keys.start(user))
                .arg(keys.channel(user))
                .arg(text)
                .arg(millis(self.retention.seen))
                .arg(millis(self.retention.history))
                .arg(self.retention.history_length);
        }
        let values = self.run(pipeline).await?;
        let receipt =
            |value| if value == Value::Nil { Receipt::Duplicate } else { Receipt::Published };
        Ok(values.into_iter().map(receipt).collect())
    }
}

impl OwnerDirectory for RedisStore {
    async fn learn_and_find(
        &self,
        taught: &[(Owned, UserId)],
        asked: &[Owned],
    ) -> Result<Vec<Option<UserId>>, NotNow> {
        let mut pipeline = Pipeline::with_capacity(taught.len() + asked.len());
        for (owned, user) in taught {
            let lifetime = millis(self.retention.owners);
            pipeline
                .cmd("SET")
                .arg(self.owner_key(owned))
                .arg(user.as_str())
                .arg("PX")
                .arg(lifetime);
        }
        for owned in asked {
            pipeline.cmd("GET").arg(self.owner_key(owned));
        }
        let values = self.run(pipeline).await?;
        let user = |value: Value| {
            let id: Option<String> = redis::from_redis_value(value).ok().flatten();
            // What is no user id was not written by a worker; it is as good as nothing.
            id.and_then(|id| UserId::new(&id).ok())
        };
        Ok(values.into_iter().skip(taught.len()).map(user).collect())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whatever Redis answers but a result is a matter of time, or of a person: the record is as good
/// as it was. Says no more than the kind of error, as the details of some quote a command.
fn not_now(error: &RedisError) -> NotNow {
    let detail = match (error.kind(), error.code()) {
        (ErrorKind::Io, _) => error.to_string(),
        (kind, Some(code)) => format!("{kind:?} ({code})"),
        (kind, None) => format!("{kind:?}"),
    };
    NotNow { system: "redis", detail }
}
