//! The publisher and the owner directory on Redis: one pipeline a batch and server. A connection
//! that failed in any way is dropped; the next attempt opens a new one.

use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value, cmd};
use shared::{
    redis::{RedisClient, RedisConnection, ReplicaAck},
    user::UserId,
};
use tokio::sync::Mutex;
use tracing::info;

use crate::{
    domain::recipients::{OwnedEntity, OwnerDirectory},
    metrics::Metrics,
    notification::publisher::{
        OutgoingNotification, PublishOutcome, Publisher, System, TransientError,
    },
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

shared::label! {
    /// What Redis is asked to do.
    pub enum Call as "call" {
        /// Publish notifications.
        Publish = "publish",
        /// Remember and find owners.
        Owners = "owners",
    }
}

shared::label! {
    /// How Redis fails.
    pub enum Fault as "kind" {
        /// No connection, or no answer in time.
        Unreachable = "unreachable",
        /// It reads its data from disk.
        Loading = "loading",
        /// It is a replica, or short of replicas.
        ReadOnly = "read_only",
        /// It has no memory left.
        OutOfMemory = "out_of_memory",
        /// The credentials or a command.
        Refused = "refused",
        /// Anything else.
        Other = "other",
    }
}

/// Redis, as the worker uses it. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct RedisStore {
    redis: RedisClient,
    retention: Retention,
    replica_ack: Option<ReplicaAck>,
    metrics: Metrics,
    connection: std::sync::Arc<Mutex<Option<Connection>>>,
}

#[derive(Clone, Debug)]
struct Connection {
    commands: RedisConnection,
    /// The name under which the servers know the script.
    script: String,
}

const PUBLISH_ONCE: &str = include_str!("publish_once.lua");

impl RedisStore {
    /// Takes the settings; the first use connects. With `replica_ack`, a write
    /// succeeds only once that many replicas have it.
    #[must_use]
    pub fn new(
        redis: RedisClient,
        retention: Retention,
        replica_ack: Option<ReplicaAck>,
        metrics: Metrics,
    ) -> Self {
        let connection = std::sync::Arc::default();
        Self { redis, retention, replica_ack, metrics, connection }
    }

    /// Makes sure that there is a connection.
    ///
    /// # Errors
    /// [`TransientError`] if Redis cannot be used.
    pub async fn ready(&self) -> Result<(), TransientError> {
        let connection = self.connection().await.map_err(|error| self.transient(&error))?;
        self.keep_if(connection.commands.check().await).await
    }

    /// Runs commands and returns their results, all of them good.
    async fn run(
        &self,
        call: Call,
        commands: Vec<Cmd>,
        write: bool,
    ) -> Result<Vec<Value>, TransientError> {
        let connection = self.connection().await.map_err(|error| self.transient(&error))?;
        let timer = self.metrics.redis_round_trips.of(call).start_timer();
        let results = match self.replica_ack {
            Some(replica_ack) if write => {
                connection.commands.run_with_ack(commands, replica_ack).await
            }
            _ => connection.commands.run(commands).await,
        };
        timer.observe_duration();
        self.keep_if(results.and_then(|results| results.into_iter().collect())).await
    }

    /// Keeps the connection if all is well with it.
    async fn keep_if<T>(&self, result: RedisResult<T>) -> Result<T, TransientError> {
        if result.is_err() {
            *self.connection.lock().await = None;
        }
        result.map_err(|error| self.transient(&error))
    }

    fn transient(&self, error: &RedisError) -> TransientError {
        self.metrics.redis_errors.of(fault(error)).inc();
        transient(error)
    }

    async fn connection(&self) -> RedisResult<Connection> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let commands = self.redis.connect().await?;
        let load = commands.run_on_all_nodes(cmd("SCRIPT").arg("LOAD").arg(PUBLISH_ONCE)).await?;
        let script = load.into_iter().next().unwrap_or_default();
        info!(redis = ?commands, "connected to Redis");
        let connection = Connection { commands, script: redis::from_redis_value(script)? };
        *slot = Some(connection.clone());
        Ok(connection)
    }

    fn owner_key(&self, owned: &OwnedEntity) -> String {
        match owned {
            OwnedEntity::Batch(id) => self.redis.keys.batch_owner(id),
            OwnedEntity::Class(id) => self.redis.keys.class_owner(id),
        }
    }
}

impl Publisher for RedisStore {
    async fn publish(
        &self,
        deliveries: &[OutgoingNotification],
    ) -> Result<Vec<PublishOutcome>, TransientError> {
        let script = self.connection().await.map_err(|error| self.transient(&error))?.script;
        let keys = &self.redis.keys;
        let call = |OutgoingNotification { user, identity, text }: &OutgoingNotification| {
            let mut call = cmd("EVALSHA");
            call.arg(&script)
                .arg(3)
                .arg(keys.seen(user, identity))
                .arg(keys.stream(user))
                .arg(keys.start(user))
                .arg(keys.channel(user))
                .arg(text)
                .arg(millis(self.retention.seen))
                .arg(millis(self.retention.history))
                .arg(self.retention.history_length);
            call
        };
        let supports_user =
            |delivery: &&OutgoingNotification| self.redis.supports_user(&delivery.user);
        let calls = deliveries.iter().filter(supports_user).map(call).collect();
        let mut values = self.run(Call::Publish, calls, true).await?.into_iter();
        let receipt = |delivery| match supports_user(&delivery).then(|| values.next()).flatten() {
            None => PublishOutcome::Refused("in Redis Cluster a user id may not begin with }"),
            Some(Value::Nil) => PublishOutcome::Duplicate,
            Some(_) => PublishOutcome::Published,
        };
        Ok(deliveries.iter().map(receipt).collect())
    }
}

impl OwnerDirectory for RedisStore {
    async fn learn_and_find(
        &self,
        learned: &[(OwnedEntity, UserId)],
        requested: &[OwnedEntity],
    ) -> Result<Vec<Option<UserId>>, TransientError> {
        let lifetime = millis(self.retention.owners);
        let mut commands = Vec::with_capacity(learned.len() + requested.len());
        for (owned, user) in learned {
            let mut set = cmd("SET");
            set.arg(self.owner_key(owned)).arg(user.as_str()).arg("PX").arg(lifetime);
            commands.push(set);
        }
        commands.extend(requested.iter().map(|owned| Cmd::get(self.owner_key(owned))));
        let values = self.run(Call::Owners, commands, !learned.is_empty()).await?;
        let user = |value: Value| {
            let id: Option<String> = redis::from_redis_value(value).ok().flatten();
            // What is no user id was not written by a worker; it is as good as nothing.
            id.and_then(|id| UserId::new(&id).ok())
        };
        Ok(values.into_iter().skip(learned.len()).map(user).collect())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn fault(error: &RedisError) -> Fault {
    match (error.kind(), error.code()) {
        (ErrorKind::Io, _) => Fault::Unreachable,
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => {
            Fault::Refused
        }
        (_, Some("LOADING")) => Fault::Loading,
        (_, Some("READONLY" | "NOREPLICAS")) => Fault::ReadOnly,
        (_, Some("OOM")) => Fault::OutOfMemory,
        _ => Fault::Other,
    }
}

/// Whatever Redis answers but a result is a matter of time, or of a person: the record is as good
/// as it was. Says no more than the kind of error, as the details of some quote a command.
fn transient(error: &RedisError) -> TransientError {
    let detail = match (error.kind(), error.code()) {
        (ErrorKind::Io, _) => error.to_string(),
        (kind, Some(code)) => format!("{kind:?} ({code})"),
        (kind, None) => format!("{kind:?}"),
    };
    TransientError { system: System::Redis, detail }
}
