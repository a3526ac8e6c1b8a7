//! What a server is asked about itself, whatever it belongs to.

use std::time::Duration;

use anyhow::ensure;
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};

use super::START_LIMIT;
use crate::{eventually, process::Process};

/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Waits until a server can be used.
pub(super) async fn wait_until_available(process: &Process, port: u16) -> anyhow::Result<()> {
    eventually("redis-server wait_until_available", START_LIMIT, async || {
        ensure!(process.is_running(), "redis-server has ended: {}", process.log_tail());
        Ok(ping(port).await?)
    })
    .await
}

/// Whether it can be used.
pub(super) async fn ping(port: u16) -> redis::RedisResult<()> {
    redis::cmd("PING").exec_async(&mut connect(port).await?).await
}

/// How many replicas follow it.
pub(super) async fn online_replicas(port: u16) -> anyhow::Result<usize> {
    let mut question = redis::cmd("INFO");
    let info: String = question.arg("replication").query_async(&mut connect(port).await?).await?;
    Ok(info.matches("state=online").count())
}

/// Patient, as a server that loads its data wait_until_available once in a thousand commands that it reads.
pub(super) async fn connect(port: u16) -> redis::RedisResult<MultiplexedConnection> {
    let client = Client::open(("127.0.0.1", port))?;
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_LIMIT))
        .set_response_timeout(Some(ANSWER_LIMIT));
    client.get_multiplexed_async_connection_with_config(&patient).await
}
