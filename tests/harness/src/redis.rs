//! A redis-server of our own: on a free port, with its data in our directory. Several of them
//! make a master with its sentinels, or a cluster; a [`RedisTopology`] is any of the three.

mod cluster;
mod query;
mod sentinel;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use redis::{aio::MultiplexedConnection, streams::StreamRangeReply};

use crate::{
    certificates::Certificates,
    eventually, free_port,
    process::{Process, Signal},
};

pub use cluster::Cluster;
use query::{connect, online_replicas, ping, wait_until_available};
pub use sentinel::Sentinel;

const START_LIMIT: Duration = Duration::from_secs(20);

/// What services and scenarios do with Redis, whatever servers it is made of.
pub trait RedisTopology: Send + Sync {
    /// Its address, as the services are told it.
    fn url(&self) -> String;

    /// A connection to the server that has a key now, or to any if there is no key.
    ///
    /// # Errors
    /// When there is no such server.
    fn connection_for(
        &self,
        key: &str,
    ) -> impl Future<Output = anyhow::Result<MultiplexedConnection>> + Send;

    /// Ends all servers.
    fn kill_all(&mut self);
}

impl RedisTopology for Redis {
    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn connection_for(&self, _: &str) -> anyhow::Result<MultiplexedConnection> {
        self.connection().await
    }

    fn kill_all(&mut self) {
        // It may have ended.
        drop(self.process.signal(Signal::KILL));
    }
}

/// A real Redis server. It keeps its data when it is killed.
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

    /// As [`Redis::start`], with TLS besides, on the port that is returned.
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

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// A connection of our own.
    ///
    /// # Errors
    /// When the server does not accept it.
    pub async fn connection(&self) -> anyhow::Result<MultiplexedConnection> {
        Ok(connect(self.port).await?)
    }

    /// Ends it at once; its data stay.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// Starts it again after [`Redis::kill`], on the same port and with its data.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = launch(self.port, &self.folder, &[]).await?;
        Ok(())
    }

    /// Starts it again after [`Redis::kill`] such that it says `LOADING` until
    /// [`Redis::finish_loading`]: with a pause for each command that it reads back, and wait_until_available in
    /// between.
    /// # Errors
    /// When it does not say so in time.
    pub async fn restart_loading(&mut self) -> anyhow::Result<()> {
        let slowly = ["--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024"];
        self.process = spawn(self.port, &self.folder, &slowly)?;
        eventually("redis-server loads", START_LIMIT, async || {
            let answer = ping(self.port).await;
            ensure!(answer.is_err_and(|error| error.code() == Some("LOADING")), "it does not");
            Ok(())
        })
        .await
    }

    /// Lets it load the rest at once.
    ///
    /// # Errors
    /// When it has not in time.
    pub async fn finish_loading(&self) -> anyhow::Result<()> {
        let mut config = redis::cmd("CONFIG");
        config.arg("SET").arg("key-load-delay").arg("0");
        config.exec_async(&mut self.connection().await?).await?;
        eventually("redis-server has loaded", START_LIMIT, async || Ok(ping(self.port).await?))
            .await
    }

    /// Starts it again after [`Redis::kill`], on the same port and empty.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn restart_empty(&mut self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(&self.folder)?;
        self.restart().await
    }

    /// Stops it from answering, without closing anything, until [`Redis::thaw`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it answer again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// How often a text is being listened for on a channel.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn subscribers(&self, channel: &str) -> anyhow::Result<u64> {
        let mut connection = self.connection().await?;
        let (_, count): (String, u64) =
            redis::cmd("PUBSUB").arg("NUMSUB").arg(channel).query_async(&mut connection).await?;
        Ok(count)
    }

    /// The texts in a user's stream, each with its stream id, oldest first.
    ///
    /// # Errors
    /// When the server does not answer, or an entry is not a notification.
    pub async fn stream(&self, user: &str) -> anyhow::Result<Vec<(String, String)>> {
        read_stream(&mut self.connection().await?, user).await
    }
}

/// The texts in a user's stream, each with its stream id, oldest first.
pub(crate) async fn read_stream(
    connection: &mut MultiplexedConnection,
    user: &str,
) -> anyhow::Result<Vec<(String, String)>> {
    let key = stream_key(user);
    let mut range = redis::cmd("XRANGE");
    let entries: StreamRangeReply =
        range.arg(key).arg("-").arg("+").query_async(connection).await?;
    let text = |entry: redis::streams::StreamId| {
        let text = entry.get(shared::keys::STREAM_FIELD).context("an entry has a text")?;
        Ok((entry.id, text))
    };
    entries.ids.into_iter().map(text).collect()
}

/// The name of a user's stream.
#[must_use]
pub fn stream_key(user: &str) -> String {
    format!("ws:stream:{{{user}}}")
}

/// Starts a server with further settings and waits until it wait_until_available.
async fn launch(port: u16, folder: &Path, more: &[&str]) -> anyhow::Result<Process> {
    let process = spawn(port, folder, more)?;
    wait_until_available(&process, port).await?;
    Ok(process)
}

fn spawn(port: u16, folder: &Path, more: &[&str]) -> anyhow::Result<Process> {
    std::fs::create_dir_all(folder)?;
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "no", "--daemonize", "no"])
        .args(more)
        .arg("--dir")
        .arg(folder);
    Process::start("redis-server", &command, &folder.join("redis.log"))
}

#[cfg(test)]
mod tests {
    use redis::AsyncCommands as _;

    use super::*;

    #[tokio::test]
    async fn data_survive_a_kill_and_not_an_empty_restart() {
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
