//! Connections and queries to one server of any topology.

use std::time::Duration;

use anyhow::ensure;
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};

use super::START_LIMIT;
use crate::{eventually, process::Process};

/// Longest wait for a response.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Waits until a server answers `PING`.
pub(super) async fn wait_until_available(process: &Process, port: u16) -> anyhow::Result<()> {
    eventually("redis-server is available", START_LIMIT, async || {
        ensure!(process.is_running(), "redis-server has exited: {}", process.log_tail());
        Ok(ping(port).await?)
    })
    .await
}

/// Sends `PING`.
pub(super) async fn ping(port: u16) -> redis::RedisResult<()> {
    redis::cmd("PING").exec_async(&mut connect(port).await?).await
}

/// Returns how many replicas are online.
pub(super) async fn online_replicas(port: u16) -> anyhow::Result<usize> {
    let mut query = redis::cmd("INFO");
    let info: String = query.arg("replication").query_async(&mut connect(port).await?).await?;
    Ok(info.matches("state=online").count())
}

/// Connects with long timeouts: a server that loads its data answers rarely.
pub(super) async fn connect(port: u16) -> redis::RedisResult<MultiplexedConnection> {
    let client = Client::open(("127.0.0.1", port))?;
    let timeouts = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_LIMIT))
        .set_response_timeout(Some(ANSWER_LIMIT));
    client.get_multiplexed_async_connection_with_config(&timeouts).await
}
