//! Runs redis-server on free ports: a single server, a master with replicas and sentinels, or a
//! cluster; a [`RedisTopology`] is any of the three.

mod cluster;
mod sentinel;
mod server;
mod topology;

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use redis::{aio::MultiplexedConnection, streams::StreamRangeReply};

use crate::{
    certificates::Certificates,
    eventually, free_port,
    process::{Process, Signal},
};

pub use cluster::Cluster;
pub use sentinel::Sentinel;
use server::{START_LIMIT, connect, launch, ping, spawn};
pub use topology::RedisTopology;

impl RedisTopology for Redis {
    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn connection_for(&self, _: &str) -> anyhow::Result<MultiplexedConnection> {
        self.connection().await
    }

    fn kill_all(&mut self) {
        // It may have exited.
        drop(self.process.signal(Signal::KILL));
    }
}

/// A Redis server. Its data survive a kill.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    folder: PathBuf,
    process: Process,
}

impl Redis {
    /// Starts a server with its data in `folder`.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let (port, folder) = (free_port()?, folder.join("redis"));
        let process = launch(port, &folder, &[]).await?;
        Ok(Self { port, folder, process })
    }

    /// Starts a server that also listens for TLS, on the returned port.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn start_with_tls(
        folder: &Path,
        Certificates { authority, certificate, key, .. }: &Certificates,
    ) -> anyhow::Result<(Self, u16)> {
        let (port, secure, folder) = (free_port()?, free_port()?, folder.join("redis"));
        let secure_port = secure.to_string();
        let [authority, certificate, key] =
            [authority, certificate, key].map(|path| path.display().to_string());
        let tls = [
            ["--tls-port", &secure_port],
            ["--tls-ca-cert-file", &authority],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-auth-clients", "no"],
        ];
        let process = launch(port, &folder, tls.as_flattened()).await?;
        Ok((Self { port, folder, process }, secure))
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Connects to the server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connection(&self) -> anyhow::Result<MultiplexedConnection> {
        Ok(connect(self.port).await?)
    }

    /// Kills the server; its data stay.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// Restarts the server after [`Redis::kill`], on the same port with its data.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = launch(self.port, &self.folder, &[]).await?;
        Ok(())
    }

    /// Restarts the server after [`Redis::kill`] so that it answers `LOADING` until
    /// [`Redis::finish_loading`]: it pauses after each command that it loads.
    ///
    /// # Errors
    /// When it does not answer `LOADING` in time.
    pub async fn restart_loading(&mut self) -> anyhow::Result<()> {
        let slow_load =
            ["--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024"];
        self.process = spawn(self.port, &self.folder, &slow_load)?;
        eventually("redis-server is loading", START_LIMIT, async || {
            let answer = ping(self.port).await;
            ensure!(
                answer.is_err_and(|error| error.code() == Some("LOADING")),
                "it does not answer LOADING"
            );
            Ok(())
        })
        .await
    }

    /// Removes the pauses and waits until the data are loaded.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn finish_loading(&self) -> anyhow::Result<()> {
        let mut config = redis::cmd("CONFIG");
        config.arg("SET").arg("key-load-delay").arg("0");
        config.exec_async(&mut self.connection().await?).await?;
        eventually("redis-server has loaded", START_LIMIT, async || Ok(ping(self.port).await?))
            .await
    }

    /// Returns how many bytes its log of writes has. Every write that was answered is in it.
    ///
    /// # Errors
    /// When there is no log.
    pub fn log_bytes(&self) -> anyhow::Result<u64> {
        Ok(std::fs::metadata(self.log()?)?.len())
    }

    /// Removes what was written after the log had `bytes`, of a server that is killed.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn truncate_log(&self, bytes: u64) -> anyhow::Result<()> {
        Ok(File::options().write(true).open(self.log()?)?.set_len(bytes)?)
    }

    /// Returns the file to which writes are appended.
    fn log(&self) -> anyhow::Result<PathBuf> {
        let folder = std::fs::read_dir(self.folder.join("appendonlydir"))?;
        let files: Vec<PathBuf> =
            folder.map(|file| Ok(file?.path())).collect::<std::io::Result<_>>()?;
        let is_log = |file: &PathBuf| file.to_string_lossy().ends_with(".incr.aof");
        files.into_iter().find(is_log).context("the server has a log")
    }

    /// Restarts the server after [`Redis::kill`], on the same port without its data.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn restart_empty(&mut self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(&self.folder)?;
        self.restart().await
    }

    /// Suspends the server (SIGSTOP) until [`Redis::thaw`]; connections stay open.
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Resumes the server.
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Returns the number of subscribers of a channel.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn subscribers(&self, channel: &str) -> anyhow::Result<u64> {
        let mut connection = self.connection().await?;
        let (_, count): (String, u64) =
            redis::cmd("PUBSUB").arg("NUMSUB").arg(channel).query_async(&mut connection).await?;
        Ok(count)
    }

    /// Returns the entries of a user's stream, oldest first, as id and text.
    ///
    /// # Errors
    /// When the server does not answer, or an entry is not a notification.
    pub async fn stream(&self, user: &str) -> anyhow::Result<Vec<(String, String)>> {
        read_stream(&mut self.connection().await?, user).await
    }
}

/// Returns the entries of a user's stream, oldest first, as id and text.
pub(crate) async fn read_stream(
    connection: &mut MultiplexedConnection,
    user: &str,
) -> anyhow::Result<Vec<(String, String)>> {
    let key = stream_key(user);
    let mut range = redis::cmd("XRANGE");
    let entries: StreamRangeReply =
        range.arg(key).arg("-").arg("+").query_async(connection).await?;
    let text = |entry: redis::streams::StreamId| {
        let text =
            entry.get(shared::keys::STREAM_FIELD).context("a stream entry without a text")?;
        Ok((entry.id, text))
    };
    entries.ids.into_iter().map(text).collect()
}

/// Returns the key of a user's stream.
#[must_use]
pub fn stream_key(user: &str) -> String {
    format!("ws:stream:{{{user}}}")
}

#[cfg(test)]
mod tests {
    use redis::AsyncCommands as _;

    use super::*;

    #[tokio::test]
    async fn data_survive_a_kill_but_not_an_empty_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Redis::start(folder.path()).await.unwrap();
        let mut connection = server.connection().await.unwrap();
        let () = connection.set("key", "value").await.unwrap();
        server.kill().await.unwrap();
        server.restart().await.unwrap();
        let mut connection = server.connection().await.unwrap();
        assert_eq!(connection.get::<_, String>("key").await.unwrap(), "value");
        server.kill().await.unwrap();
        server.restart_empty().await.unwrap();
        let mut connection = server.connection().await.unwrap();
        assert_eq!(connection.get::<_, Option<String>>("key").await.unwrap(), None);
    }
}
