//! A master with replicas, monitored by three sentinels.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use redis::aio::MultiplexedConnection;

use super::{
    server::{connect, launch, online_replicas, wait_until_available},
    topology::RedisTopology,
};
use crate::{
    eventually, free_port,
    process::{Process, Signal},
};

/// The master's name in the sentinels' configuration.
const MASTER: &str = "main";

/// Longest wait until servers and sentinels converge.
const CONVERGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Servers of which one is the master, and three sentinels.
#[derive(Debug)]
pub struct Sentinel {
    servers: Vec<(u16, Process)>,
    sentinels: Vec<(u16, Process)>,
}

impl Sentinel {
    /// Starts a master with replicas, and three sentinels.
    ///
    /// # Errors
    /// When the sentinels do not discover all servers in time.
    pub async fn start(folder: &Path, replicas: usize) -> anyhow::Result<Self> {
        let mut group = Self { servers: Vec::new(), sentinels: Vec::new() };
        let master = free_port()?;
        let of_master = ["--replicaof", "127.0.0.1", &master.to_string()];
        for number in 0..=replicas {
            let folder = folder.join(format!("redis-{number}"));
            let mut more = vec!["--repl-diskless-sync-delay", "0"];
            let mut port = master;
            if number > 0 {
                more.extend(of_master);
                port = free_port()?;
            }
            group.servers.push((port, launch(port, &folder, &more).await?));
        }
        group.wait_for_replicas(0, replicas).await?;
        let replicas_of = group.servers[1..].iter().map(|(port, _)| *port).collect::<Vec<_>>();
        let mut names = Vec::new();
        for _ in 0..3 {
            names.push((free_port()?, format!("{}00000000", uuid::Uuid::new_v4().simple())));
        }
        for (number, (port, _)) in names.iter().enumerate() {
            let folder = folder.join(format!("sentinel-{number}"));
            let config = sentinel_config(master, &replicas_of, &names, number);
            group.sentinels.push((*port, start_sentinel(&folder, *port, &config).await?));
        }
        group.wait_for_discovery(replicas).await?;
        Ok(group)
    }

    /// Returns the index of the server that a majority of the sentinels names as master.
    ///
    /// # Errors
    /// When there is no majority.
    pub async fn master(&self) -> anyhow::Result<usize> {
        let mut votes = vec![0; self.servers.len()];
        for (sentinel, _) in self.sentinels.iter().filter(|(_, process)| process.is_running()) {
            let mut connection = connect(*sentinel).await?;
            let mut query = redis::cmd("SENTINEL");
            query.arg("GET-MASTER-ADDR-BY-NAME").arg(MASTER);
            let (_, port): (String, u16) = query.query_async(&mut connection).await?;
            let server = self.servers.iter().position(|(known, _)| *known == port);
            votes[server.with_context(|| format!("unknown server at port {port}"))?] += 1;
        }
        let elected = votes.iter().position(|votes| *votes > self.sentinels.len() / 2);
        elected.context("no majority of the sentinels agrees")
    }

    /// Waits until a majority of the sentinels names another master than `old`.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_for_new_master(&self, old: usize) -> anyhow::Result<usize> {
        eventually("the sentinels elect another master", CONVERGE_TIMEOUT, async || {
            let master = self.master().await?;
            ensure!(master != old, "server {old} is still the master");
            Ok(master)
        })
        .await
    }

    /// Triggers a failover from a healthy master.
    ///
    /// # Errors
    /// When the sentinel returns an error.
    pub async fn fail_over(&self) -> anyhow::Result<()> {
        let mut connection = connect(self.sentinels[0].0).await?;
        Ok(redis::cmd("SENTINEL").arg("FAILOVER").arg(MASTER).exec_async(&mut connection).await?)
    }

    /// Waits until all replicas have acknowledged every write of a server.
    ///
    /// # Errors
    /// When they have not in time.
    pub async fn wait_for_replication(&self, server: usize) -> anyhow::Result<()> {
        let mut connection = self.connection(server).await?;
        let replicas = self.servers.len() - 1;
        let () = redis::cmd("SET").arg("caught-up").arg(1).query_async(&mut connection).await?;
        eventually("the replicas acknowledge all writes", CONVERGE_TIMEOUT, async || {
            let mut wait = redis::cmd("WAIT");
            wait.arg(replicas).arg(100);
            let have: usize = wait.query_async(&mut connection.clone()).await?;
            ensure!(have == replicas, "{have} of {replicas} have");
            Ok(())
        })
        .await
    }

    /// Returns the process of a server.
    #[must_use]
    pub fn server(&self, server: usize) -> &Process {
        &self.servers[server].1
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connection(&self, server: usize) -> anyhow::Result<MultiplexedConnection> {
        Ok(connect(self.servers[server].0).await?)
    }

    /// Returns the process of a sentinel.
    #[must_use]
    pub fn sentinel(&self, sentinel: usize) -> &Process {
        &self.sentinels[sentinel].1
    }

    /// Waits until a server has this number of replicas online.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_for_replicas(&self, server: usize, replicas: usize) -> anyhow::Result<()> {
        eventually("the replicas are online", CONVERGE_TIMEOUT, async || {
            let online = online_replicas(self.servers[server].0).await?;
            ensure!(online == replicas, "{online} of {replicas} are");
            Ok(())
        })
        .await
    }

    /// Waits until each sentinel knows all replicas and both other sentinels.
    async fn wait_for_discovery(&self, replicas: usize) -> anyhow::Result<()> {
        eventually("the sentinels discover each other", CONVERGE_TIMEOUT, async || {
            for (port, _) in &self.sentinels {
                let mut connection = connect(*port).await?;
                for (kind, expected) in [("REPLICAS", replicas), ("SENTINELS", 2)] {
                    let mut query = redis::cmd("SENTINEL");
                    query.arg(kind).arg(MASTER);
                    let known: Vec<redis::Value> = query.query_async(&mut connection).await?;
                    ensure!(known.len() == expected, "{} of {expected} {kind}", known.len());
                }
            }
            Ok(())
        })
        .await
    }
}

/// Returns the configuration of a sentinel; replicas and sentinels are listed, as discovery takes
/// seconds.
fn sentinel_config(
    master: u16,
    replicas: &[u16],
    names: &[(u16, String)],
    number: usize,
) -> String {
    let (port, id) = &names[number];
    let mut text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel myid {id}\n\
         sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {MASTER} 500\n\
         sentinel failover-timeout {MASTER} 3000\n"
    );
    let replica = |port| format!("sentinel known-replica {MASTER} 127.0.0.1 {port}\n");
    text.extend(replicas.iter().map(replica));
    let others = names.iter().filter(|(other, _)| other != port);
    text.extend(
        others
            .map(|(port, id)| format!("sentinel known-sentinel {MASTER} 127.0.0.1 {port} {id}\n")),
    );
    text
}

async fn start_sentinel(folder: &Path, port: u16, text: &str) -> anyhow::Result<Process> {
    std::fs::create_dir_all(folder)?;
    let settings = folder.join("sentinel.conf");
    std::fs::write(&settings, text)?;
    let mut command = Command::new("redis-server");
    command.arg(&settings).arg("--sentinel").current_dir(folder);
    let process = Process::start("redis-sentinel", &command, &folder.join("sentinel.log"))?;
    wait_until_available(&process, port).await?;
    Ok(process)
}

impl RedisTopology for Sentinel {
    fn url(&self) -> String {
        let sentinels = self.sentinels.iter().map(|(port, _)| format!("127.0.0.1:{port}"));
        format!("redis+sentinel://{}/{MASTER}", sentinels.collect::<Vec<_>>().join(","))
    }

    async fn connection_for(&self, _: &str) -> anyhow::Result<MultiplexedConnection> {
        self.connection(self.master().await?).await
    }

    fn kill_all(&mut self) {
        for (_, process) in self.sentinels.iter().chain(&self.servers) {
            // It may have exited.
            drop(process.signal(Signal::KILL));
        }
    }
}
