//! A cluster: masters that share the slots, and replicas of some.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use redis::aio::MultiplexedConnection;

use super::{RedisTopology, connect, launch, online_replicas};
use crate::{
    eventually, free_port,
    process::{Process, Signal},
    proxy::{Fault, Proxy},
};

/// Longest wait for the nodes to know each other and to agree.
const CONVERGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many slots there are.
const SLOTS: usize = 16_384;

/// The nodes of a cluster, the masters first.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    port: u16,
    /// Where the others reach it.
    bus: Proxy,
    id: String,
    process: Process,
}

impl Cluster {
    /// Starts a master for each number, with so many replicas, and shares the slots out evenly.
    ///
    /// # Errors
    /// When they do not agree in time.
    pub async fn start(folder: &Path, replicas: &[usize]) -> anyhow::Result<Self> {
        let mut cluster = Self { nodes: Vec::new() };
        for number in 0..replicas.len() + replicas.iter().sum::<usize>() {
            cluster.nodes.push(node(&folder.join(format!("node-{number}"))).await?);
        }
        for number in 0..cluster.nodes.len() {
            cluster.join(number, replicas.len()).await?;
        }
        cluster.wait_until_ok().await?;
        let masters = replicas.iter().enumerate().flat_map(|(of, count)| vec![of; *count]);
        for (replica, master) in cluster.nodes[replicas.len()..].iter().zip(masters) {
            command(replica.port, &["REPLICATE", &cluster.nodes[master].id]).await?;
        }
        cluster.wait_for_replicas(replicas).await?;
        Ok(cluster)
    }

    /// Gives a node its slots, if it is one of the masters, and tells it of the first node.
    async fn join(&self, number: usize, masters: usize) -> anyhow::Result<()> {
        let (node, first) = (&self.nodes[number], &self.nodes[0]);
        command(node.port, &["SET-CONFIG-EPOCH", &(number + 1).to_string()]).await?;
        if number < masters {
            let slots = SLOTS * number / masters..SLOTS * (number + 1) / masters;
            let (begin, end) = (slots.start.to_string(), (slots.end - 1).to_string());
            command(node.port, &["ADDSLOTSRANGE", &begin, &end]).await?;
        }
        let (port, bus) = (first.port.to_string(), first.bus.address().port().to_string());
        command(node.port, &["MEET", "127.0.0.1", &port, &bus]).await
    }

    /// Waits until every node knows all others and sees the cluster work.
    async fn wait_until_ok(&self) -> anyhow::Result<()> {
        let all = format!("cluster_known_nodes:{}\r", self.nodes.len());
        eventually("the cluster works", CONVERGE_TIMEOUT, async || {
            for node in &self.nodes {
                let mut connection = connect(node.port).await?;
                let info: String =
                    redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await?;
                ensure!(info.contains("cluster_state:ok") && info.contains(&all), "{info}");
            }
            Ok(())
        })
        .await
    }

    /// Waits until each master has its replicas.
    async fn wait_for_replicas(&self, replicas: &[usize]) -> anyhow::Result<()> {
        eventually("the replicas follow", CONVERGE_TIMEOUT, async || {
            for (node, expected) in self.nodes.iter().zip(replicas) {
                let online = online_replicas(node.port).await?;
                ensure!(online == *expected, "{online} of {expected} do");
            }
            Ok(())
        })
        .await
    }

    /// A connection to some node that is still there.
    async fn any_connection(&self) -> anyhow::Result<MultiplexedConnection> {
        let node = self.nodes.iter().find(|node| node.process.is_running());
        Ok(connect(node.context("a node is left")?.port).await?)
    }

    /// Which of the nodes serves a slot, as a node says that is still there.
    ///
    /// # Errors
    /// When no node says so.
    pub async fn node_of(&self, slot: u16) -> anyhow::Result<usize> {
        let mut question = redis::cmd("CLUSTER");
        question.arg("SLOTS");
        let ranges: Vec<Vec<redis::Value>> =
            question.query_async(&mut self.any_connection().await?).await?;
        for range in ranges {
            let mut fields = range.into_iter();
            let mut next = || fields.next().context("a range is whole");
            let first: u16 = redis::from_redis_value(next()?)?;
            let last: u16 = redis::from_redis_value(next()?)?;
            let mut master: Vec<redis::Value> = redis::from_redis_value(next()?)?;
            if (first..=last).contains(&slot) {
                let port: u16 = redis::from_redis_value(master.swap_remove(1))?;
                let node = self.nodes.iter().position(|node| node.port == port);
                return node.with_context(|| format!("{port} is ours"));
            }
        }
        anyhow::bail!("nobody serves {slot}")
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// When no node wait_until_available.
    pub async fn slot(&self, key: &str) -> anyhow::Result<u16> {
        let mut question = redis::cmd("CLUSTER");
        question.arg("KEYSLOT").arg(key);
        Ok(question.query_async(&mut self.any_connection().await?).await?)
    }

    /// Begins to move a slot: both nodes know of it, and the keys are still where they were.
    ///
    /// # Errors
    /// When a node refuses.
    pub async fn begin_migration(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (slot, from, to) = (slot.to_string(), &self.nodes[from], &self.nodes[to]);
        command(to.port, &["SETSLOT", &slot, "IMPORTING", &from.id]).await?;
        command(from.port, &["SETSLOT", &slot, "MIGRATING", &to.id]).await
    }

    /// Moves the keys of a slot and ends the migration.
    ///
    /// # Errors
    /// When a node refuses.
    pub async fn end_migration(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let mut source = connect(from.port).await?;
        loop {
            let mut question = redis::cmd("CLUSTER");
            question.arg("GETKEYSINSLOT").arg(slot).arg(100);
            let keys: Vec<String> = question.query_async(&mut source).await?;
            if keys.is_empty() {
                break;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(to.port).arg("").arg(0).arg(5_000).arg("KEYS").arg(keys);
            migrate.exec_async(&mut source).await?;
        }
        // The new owner first, or nobody is for a moment.
        for node in [to, from] {
            command(node.port, &["SETSLOT", &slot.to_string(), "NODE", &to.id]).await?;
        }
        Ok(())
    }

    /// What happens to the links between the nodes from now on.
    pub fn set_bus_fault(&self, fault: Fault) {
        for node in &self.nodes {
            node.bus.set_fault(fault);
        }
    }

    /// One of the nodes.
    #[must_use]
    pub fn node(&self, node: usize) -> &Process {
        &self.nodes[node].process
    }
}

async fn node(folder: &Path) -> anyhow::Result<Node> {
    let (port, bus) = (free_port()?, free_port()?);
    let proxy = Proxy::start(([127, 0, 0, 1], bus).into()).await?;
    let announced = proxy.address().port().to_string();
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
    let announce = ["--cluster-announce-bus-port", &announced];
    let quick = ["--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
    let process = launch(port, folder, &[&cluster[..], &announce, &quick].concat()).await?;
    let id = redis::cmd("CLUSTER").arg("MYID").query_async(&mut connect(port).await?).await?;
    Ok(Node { port, bus: proxy, id, process })
}

/// Runs a `CLUSTER` command at a node.
async fn command(port: u16, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = redis::cmd("CLUSTER");
    let result = command.arg(arguments).exec_async(&mut connect(port).await?).await;
    result.with_context(|| format!("CLUSTER {arguments:?}"))
}

impl RedisTopology for Cluster {
    fn url(&self) -> String {
        let nodes = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        format!("redis+cluster://{}", nodes.collect::<Vec<_>>().join(","))
    }

    async fn connection_for(&self, key: &str) -> anyhow::Result<MultiplexedConnection> {
        let node = self.node_of(self.slot(key).await?).await?;
        Ok(connect(self.nodes[node].port).await?)
    }

    fn kill_all(&mut self) {
        for node in &self.nodes {
            // Whether it still runs is up to the scenario.
            drop(node.process.signal(Signal::KILL));
        }
    }
}
