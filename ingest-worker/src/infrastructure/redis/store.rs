//! The connection to Redis that the publisher and the owner directory share. A connection on which
//! a command failed with an outage is dropped; the next call opens a new one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use shared::redis::{RedisClient, RedisConnection, ReplicaAck};
use tokio::sync::Mutex;
use tracing::{debug, info};

use super::{
    error,
    watermarks::{NOTE_SINCE, REPLACE_WATERMARKS, RoundTripTimes, WatermarkKeys},
};
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
    /// Attempts to publish, so that no two watermarks are equal.
    pub(super) attempts: Arc<AtomicU64>,
    pub(super) round_trip_times: RoundTripTimes,
    /// Whether Redis refused the watermarks the last time.
    pub(super) watermarks_refused: Arc<AtomicBool>,
    /// Whether a connection was logged since something was published: a server that accepts
    /// connections and no writes is connected to for each attempt.
    pub(super) connection_logged: Arc<AtomicBool>,
}

/// Connections to all masters. It does not reconnect: what it has written is what its servers have,
/// as long as its commands succeed.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) commands: RedisConnection,
    /// SHA-1 under which every server has the publish script.
    pub(super) script: Arc<str>,
    pub(super) watermarks: WatermarkKeys,
}

pub(super) const PUBLISH_ONCE: &str = include_str!("publish_once.lua");

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
        let (connection, attempts, round_trip_times) = Default::default();
        let (watermarks_refused, connection_logged) = Default::default();
        Self {
            client,
            retention,
            metrics,
            replica_ack,
            connection,
            attempts,
            round_trip_times,
            watermarks_refused,
            connection_logged,
        }
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

    /// Runs commands in one round trip and returns a result for each. An error among the results
    /// concerns its command alone.
    ///
    /// # Errors
    /// [`TransientError`] if Redis as a whole is unavailable; some commands may have run.
    pub(super) async fn run(
        &self,
        connection: &Connection,
        call: RedisCall,
        commands: Vec<Cmd>,
        writes: bool,
    ) -> Result<Vec<RedisResult<Value>>, TransientError> {
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

    /// Returns the present connection, or connects.
    pub(super) async fn connect(&self) -> Result<Connection, TransientError> {
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
        let script = load(&commands, PUBLISH_ONCE).await?;
        let replace = load(&commands, REPLACE_WATERMARKS).await?;
        let note_since = load(&commands, NOTE_SINCE).await?;
        let keys = commands.key_on_each_master(&self.client.keys.watermark_prefix());
        let keys = keys.into_iter().map(Arc::from).collect();
        let watermarks = WatermarkKeys { replace, note_since, keys };
        if self.connection_logged.swap(true, Ordering::Relaxed) {
            debug!(redis = ?commands, "connected to Redis");
        } else {
            info!(redis = ?commands, "connected to Redis");
        }
        Ok(Connection { commands, script, watermarks })
    }
}

/// Loads a script into every server and returns its SHA-1.
pub(super) async fn load(connection: &RedisConnection, script: &str) -> RedisResult<Arc<str>> {
    let loaded = connection.run_on_all_nodes(cmd("SCRIPT").arg("LOAD").arg(script)).await?;
    let script: String = redis::from_redis_value(loaded.into_iter().next().unwrap_or_default())?;
    Ok(script.into())
}
