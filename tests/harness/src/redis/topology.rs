//! What every Redis deployment offers to a stack.

use redis::aio::MultiplexedConnection;

/// A Redis deployment. Implementations return connections to the current master.
pub trait RedisTopology: Send + Sync {
    /// Returns the value for `REDIS_URL`.
    fn url(&self) -> String;

    /// Connects to the master that holds a key.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    fn connection_for(
        &self,
        key: &str,
    ) -> impl Future<Output = anyhow::Result<MultiplexedConnection>> + Send;

    /// Kills all servers.
    fn kill_all(&mut self);
}
