//! Starts, connects to and queries one server of any topology.

use std::{path::Path, process::Command, time::Duration};

use anyhow::ensure;
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};

use crate::{eventually, process::Process};

/// Longest wait until a server answers.
pub(super) const START_LIMIT: Duration = Duration::from_secs(20);

/// Longest wait for a response.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Starts a server with further arguments and waits until it answers.
pub(super) async fn launch(
    port: u16,
    folder: &Path,
    arguments: &[&str],
) -> anyhow::Result<Process> {
    let process = spawn(port, folder, arguments)?;
    wait_until_available(&process, port).await?;
    Ok(process)
}

/// Starts a server with further arguments.
pub(super) fn spawn(port: u16, folder: &Path, arguments: &[&str]) -> anyhow::Result<Process> {
    std::fs::create_dir_all(folder)?;
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "no", "--daemonize", "no"])
        // One log, which `Redis::truncate_log` cuts.
        .args(["--auto-aof-rewrite-percentage", "0"])
        .args(arguments)
        .arg("--dir")
        .arg(folder);
    Process::start("redis-server", &command, &folder.join("redis.log"))
}

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
