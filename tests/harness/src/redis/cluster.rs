//! A Redis Cluster: masters that share the slots, and replicas.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use redis::aio::MultiplexedConnection;

use super::{
    server::{connect, launch, online_replicas},
    topology::RedisTopology,
};
use crate::{
    eventually, free_port,
    process::{Process, Signal},
    proxy::{Fault, Proxy},
};

/// Longest wait until the cluster converges.
const CONVERGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Number of slots.
const SLOTS: usize = 16_384;

/// A running cluster, its masters first.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    port: u16,
    /// Proxy of the cluster bus, through which the other nodes connect.
    bus: Proxy,
    /// Proxy through which clients connect.
    clients: Proxy,
    id: String,
    process: Process,
}

impl Cluster {
    /// Starts one master per element of `replicas`, with that many replicas, and assigns the slots
    /// evenly.
    ///
    /// # Errors
    /// When the cluster does not converge in time.
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

    /// Assigns slots to a node, if it is a master, and lets it meet the first node.
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

    /// Waits until every node knows all others and reports the state `ok`.
    async fn wait_until_ok(&self) -> anyhow::Result<()> {
        let all = format!("cluster_known_nodes:{}\r", self.nodes.len());
        eventually("the cluster state is ok", CONVERGE_TIMEOUT, async || {
            for node in &self.nodes {
                let mut connection = connect(node.port).await?;
                let info: String =
                    redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await?;
                ensure!(
                    info.contains("cluster_state:ok") && info.contains(&all),
                    "expected cluster_state:ok and {all}, got {info}"
                );
            }
            Ok(())
        })
        .await
    }

    /// Waits until the replicas of each master are online.
    async fn wait_for_replicas(&self, replicas: &[usize]) -> anyhow::Result<()> {
        eventually("the replicas are online", CONVERGE_TIMEOUT, async || {
            for (node, expected) in self.nodes.iter().zip(replicas) {
                let online = online_replicas(node.port).await?;
                ensure!(online == *expected, "{online} of {expected} are");
            }
            Ok(())
        })
        .await
    }

    /// Connects to any node that is running.
    async fn any_connection(&self) -> anyhow::Result<MultiplexedConnection> {
        let node = self.nodes.iter().find(|node| node.process.is_running());
        Ok(connect(node.context("no node is running")?.port).await?)
    }

    /// Returns the index of the master that serves a slot.
    ///
    /// # Errors
    /// When no running node knows one.
    pub async fn node_of(&self, slot: u16) -> anyhow::Result<usize> {
        let mut query = redis::cmd("CLUSTER");
        query.arg("SLOTS");
        let ranges: Vec<Vec<redis::Value>> =
            query.query_async(&mut self.any_connection().await?).await?;
        for range in ranges {
            let mut fields = range.into_iter();
            let mut next = || fields.next().context("an incomplete range in CLUSTER SLOTS");
            let first: u16 = redis::from_redis_value(next()?)?;
            let last: u16 = redis::from_redis_value(next()?)?;
            let mut master: Vec<redis::Value> = redis::from_redis_value(next()?)?;
            if (first..=last).contains(&slot) {
                let port: u16 = redis::from_redis_value(master.swap_remove(1))?;
                let node = self.nodes.iter().position(|node| node.clients.address().port() == port);
                return node.with_context(|| format!("unknown node at port {port}"));
            }
        }
        anyhow::bail!("no node serves slot {slot}")
    }

    /// Returns the slot of a key.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn slot(&self, key: &str) -> anyhow::Result<u16> {
        let mut query = redis::cmd("CLUSTER");
        query.arg("KEYSLOT").arg(key);
        Ok(query.query_async(&mut self.any_connection().await?).await?)
    }

    /// Starts the migration of a slot; its keys are not moved yet.
    ///
    /// # Errors
    /// When a node returns an error.
    pub async fn begin_migration(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (slot, from, to) = (slot.to_string(), &self.nodes[from], &self.nodes[to]);
        command(to.port, &["SETSLOT", &slot, "IMPORTING", &from.id]).await?;
        command(from.port, &["SETSLOT", &slot, "MIGRATING", &to.id]).await
    }

    /// Moves the keys of a slot and ends the migration.
    ///
    /// # Errors
    /// When a node returns an error.
    pub async fn end_migration(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let mut source = connect(from.port).await?;
        loop {
            let mut query = redis::cmd("CLUSTER");
            query.arg("GETKEYSINSLOT").arg(slot).arg(100);
            let keys: Vec<String> = query.query_async(&mut source).await?;
            if keys.is_empty() {
                break;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(to.port).arg("").arg(0).arg(5_000).arg("KEYS").arg(keys);
            migrate.exec_async(&mut source).await?;
        }
        // The new owner first, so that the slot always has one.
        for node in [to, from] {
            command(node.port, &["SETSLOT", &slot.to_string(), "NODE", &to.id]).await?;
        }
        Ok(())
    }

    /// Takes a slot away from all masters. The others stay in service.
    ///
    /// # Errors
    /// When a node returns an error.
    pub async fn unassign(&self, slot: u16) -> anyhow::Result<()> {
        for node in &self.nodes {
            let mut settings = redis::cmd("CONFIG");
            settings.arg("SET").arg("cluster-require-full-coverage").arg("no");
            settings.exec_async(&mut connect(node.port).await?).await?;
        }
        for node in &self.nodes {
            command(node.port, &["DELSLOTS", &slot.to_string()]).await?;
        }
        Ok(())
    }

    /// Assigns a slot that no master owns.
    ///
    /// # Errors
    /// When the node returns an error.
    pub async fn assign(&self, slot: u16, to: usize) -> anyhow::Result<()> {
        command(self.nodes[to].port, &["ADDSLOTS", &slot.to_string()]).await
    }

    /// Sets the fault of the connections between nodes.
    pub fn set_bus_fault(&self, fault: Fault) {
        for node in &self.nodes {
            node.bus.set_fault(fault);
        }
    }

    /// Sends new connections to a node elsewhere; open ones stay. `None` ends it.
    pub fn redirect(&self, node: usize, elsewhere: Option<SocketAddr>) {
        let node = &self.nodes[node];
        let own = SocketAddr::from(([127, 0, 0, 1], node.port));
        node.clients.set_server(elsewhere.unwrap_or(own));
    }

    /// Returns the process of a node.
    #[must_use]
    pub fn node(&self, node: usize) -> &Process {
        &self.nodes[node].process
    }
}

async fn node(folder: &Path) -> anyhow::Result<Node> {
    let (port, bus) = (free_port()?, free_port()?);
    let clients = Proxy::start(([127, 0, 0, 1], port).into()).await?;
    let proxy = Proxy::start(([127, 0, 0, 1], bus).into()).await?;
    let announced = [&clients, &proxy].map(|proxy| proxy.address().port().to_string());
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
    let [announced_port, announced_bus] = &announced;
    let announce =
        ["--cluster-announce-port", announced_port, "--cluster-announce-bus-port", announced_bus];
    let fast_failover = ["--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
    let process = launch(port, folder, &[&cluster[..], &announce, &fast_failover].concat()).await?;
    let id = redis::cmd("CLUSTER").arg("MYID").query_async(&mut connect(port).await?).await?;
    Ok(Node { port, bus: proxy, clients, id, process })
}

/// Runs a `CLUSTER` command at a node.
async fn command(port: u16, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = redis::cmd("CLUSTER");
    let result = command.arg(arguments).exec_async(&mut connect(port).await?).await;
    result.with_context(|| format!("CLUSTER {arguments:?}"))
}

impl RedisTopology for Cluster {
    fn url(&self) -> String {
        let nodes = self.nodes.iter().map(|node| node.clients.address().to_string());
        format!("redis+cluster://{}", nodes.collect::<Vec<_>>().join(","))
    }

    async fn connection_for(&self, key: &str) -> anyhow::Result<MultiplexedConnection> {
        let node = self.node_of(self.slot(key).await?).await?;
        Ok(connect(self.nodes[node].port).await?)
    }

    fn kill_all(&mut self) {
        for node in &self.nodes {
            // It may have exited.
            drop(node.process.signal(Signal::KILL));
        }
    }
}
