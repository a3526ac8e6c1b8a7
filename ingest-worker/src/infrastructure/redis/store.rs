//! The connection to Redis that the publisher and the owner directory share. A connection on which
//! a command failed with an outage is dropped; the next call opens a new one.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use shared::redis::{RedisClient, RedisConnection, ReplicaAck};
use tokio::sync::Mutex;
use tracing::info;

use super::error;
use crate::{
    metrics::{Metrics, RedisCall},
    notification::publisher::TransientError,
};

/// Lifetimes and sizes of what the worker stores in Redis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// Lifetime of a claim, within which an event is recognised as published.
    pub(crate) seen: Duration,
    /// Lifetime of a user's history after the last notification.
    pub(crate) history: Duration,
    /// Approximate number of notifications in a user's history.
    pub(crate) history_length: usize,
    /// Lifetime of an owner after the last event that stated it.
    pub(crate) owners: Duration,
}

/// The worker's store on Redis. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct RedisStore {
    pub(super) client: RedisClient,
    pub(super) retention: Retention,
    pub(super) metrics: Metrics,
    replica_ack: Option<ReplicaAck>,
    connection: Arc<Mutex<Option<Connection>>>,
}

#[derive(Clone, Debug)]
struct Connection {
    commands: RedisConnection,
    /// SHA-1 under which every server has the publish script.
    script: Arc<str>,
}

const PUBLISH_ONCE: &str = include_str!("publish_once.lua");

impl RedisStore {
    /// A store that connects on first use. With `replica_ack`, a write succeeds only once that
    /// many replicas have it.
    #[must_use]
    pub(crate) fn new(
        client: RedisClient,
        retention: Retention,
        replica_ack: Option<ReplicaAck>,
        metrics: Metrics,
    ) -> Self {
        Self { client, retention, metrics, replica_ack, connection: Arc::default() }
    }

    /// Checks that Redis can be used; connects if there is no connection.
    ///
    /// # Errors
    /// [`TransientError`] if Redis cannot be used.
    pub(crate) async fn check(&self) -> Result<(), TransientError> {
        match self.connect().await?.commands.check().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.disconnect(&error).await),
        }
    }

    /// Returns the SHA-1 of the publish script, which every server has loaded.
    pub(super) async fn script(&self) -> Result<Arc<str>, TransientError> {
        Ok(self.connect().await?.script)
    }

    /// Runs commands in one round trip and returns a result for each. An error among the results
    /// concerns its command alone.
    ///
    /// # Errors
    /// [`TransientError`] if Redis as a whole is unavailable; some commands may have run.
    pub(super) async fn run(
        &self,
        call: RedisCall,
        commands: Vec<Cmd>,
        writes: bool,
    ) -> Result<Vec<RedisResult<Value>>, TransientError> {
        let connection = self.connect().await?;
        let timer = self.metrics.redis_round_trips.of(call).start_timer();
        let results = match self.replica_ack {
            Some(replica_ack) if writes => {
                connection.commands.run_with_ack(commands, replica_ack).await
            }
            _ => connection.commands.run(commands).await,
        };
        timer.observe_duration();
        let results = match results {
            Ok(results) => results,
            Err(error) => return Err(self.disconnect(&error).await),
        };
        let mut errors = results.iter().filter_map(|result| result.as_ref().err());
        match errors.find(|error| error::is_outage(error)) {
            Some(error) => Err(self.disconnect(error).await),
            None => Ok(results),
        }
    }

    /// Drops the connection after an outage; the next call discovers the topology again.
    pub(super) async fn disconnect(&self, error: &RedisError) -> TransientError {
        self.drop_connection().await;
        self.count(error)
    }

    pub(super) async fn drop_connection(&self) {
        *self.connection.lock().await = None;
    }

    /// Counts an error and returns it for the caller to retry.
    pub(super) fn count(&self, error: &RedisError) -> TransientError {
        self.metrics.redis_errors.of(error::kind(error)).inc();
        error::transient(error)
    }

    async fn connect(&self) -> Result<Connection, TransientError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let connection = self.open().await.map_err(|error| self.count(&error))?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    async fn open(&self) -> RedisResult<Connection> {
        let commands = self.client.connect().await?;
        let loaded = commands.run_on_all_nodes(cmd("SCRIPT").arg("LOAD").arg(PUBLISH_ONCE)).await?;
        let script: String =
            redis::from_redis_value(loaded.into_iter().next().unwrap_or_default())?;
        info!(redis = ?commands, "connected to Redis");
        Ok(Connection { commands, script: script.into() })
    }
}
