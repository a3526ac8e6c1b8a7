//! A Redis Cluster: masters that share the slots, and replicas.

mod slots;

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
    /// Port for clients that it announces.
    client_port: u16,
    /// Port of the cluster bus that it announces.
    bus_port: u16,
    /// None if the announced ports are its own.
    proxies: Option<Proxies>,
    id: String,
    process: Process,
}

/// The proxies in front of a node.
#[derive(Debug)]
struct Proxies {
    /// That of the cluster bus, through which the other nodes connect.
    bus: Proxy,
    /// That through which clients connect.
    clients: Proxy,
}

impl Cluster {
    /// Starts one master per element of `replicas`, with that many replicas, and assigns the slots
    /// evenly.
    ///
    /// # Errors
    /// When the cluster does not converge in time.
    pub async fn start(folder: &Path, replicas: &[usize]) -> anyhow::Result<Self> {
        Self::start_nodes(folder, replicas, true).await
    }

    /// Starts masters for a measurement, in which no proxy may take part: they have no faults.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_without_proxies(folder: &Path, masters: usize) -> anyhow::Result<Self> {
        Self::start_nodes(folder, &vec![0; masters], false).await
    }

    async fn start_nodes(
        folder: &Path,
        replicas: &[usize],
        has_proxies: bool,
    ) -> anyhow::Result<Self> {
        let mut cluster = Self { nodes: Vec::new() };
        for number in 0..replicas.len() + replicas.iter().sum::<usize>() {
            cluster.nodes.push(node(&folder.join(format!("node-{number}")), has_proxies).await?);
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
        let (port, bus) = (first.port.to_string(), first.bus_port.to_string());
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

    /// Sets the fault of the connections between nodes.
    pub fn set_bus_fault(&self, fault: Fault) {
        for proxies in self.nodes.iter().flat_map(|node| &node.proxies) {
            proxies.bus.set_fault(fault);
        }
    }

    /// Sends new connections to a node elsewhere; open ones stay. `None` ends it.
    pub fn redirect(&self, node: usize, elsewhere: Option<SocketAddr>) {
        let node = &self.nodes[node];
        let own = SocketAddr::from(([127, 0, 0, 1], node.port));
        if let Some(proxies) = &node.proxies {
            proxies.clients.set_server(elsewhere.unwrap_or(own));
        }
    }

    /// Connects to a node.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connection(&self, node: usize) -> anyhow::Result<MultiplexedConnection> {
        Ok(connect(self.nodes[node].port).await?)
    }

    /// Returns the process of a node.
    #[must_use]
    pub fn node(&self, node: usize) -> &Process {
        &self.nodes[node].process
    }
}

async fn node(folder: &Path, has_proxies: bool) -> anyhow::Result<Node> {
    let (port, bus) = (free_port()?, free_port()?);
    let proxies = if has_proxies {
        let [clients, bus] = [port, bus].map(|port| Proxy::start(([127, 0, 0, 1], port).into()));
        Some(Proxies { clients: clients.await?, bus: bus.await? })
    } else {
        None
    };
    let (client_port, bus_port) =
        proxies.as_ref().map_or((port, bus), |Proxies { bus, clients }| {
            (clients.address().port(), bus.address().port())
        });
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
    let [announced_port, announced_bus] = [client_port, bus_port].map(|port| port.to_string());
    let announce =
        ["--cluster-announce-port", &announced_port, "--cluster-announce-bus-port", &announced_bus];
    let fast_failover = ["--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
    let process = launch(port, folder, &[&cluster[..], &announce, &fast_failover].concat()).await?;
    let id = redis::cmd("CLUSTER").arg("MYID").query_async(&mut connect(port).await?).await?;
    Ok(Node { port, client_port, bus_port, proxies, id, process })
}

/// Runs a `CLUSTER` command at a node.
async fn command(port: u16, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = redis::cmd("CLUSTER");
    let result = command.arg(arguments).exec_async(&mut connect(port).await?).await;
    result.with_context(|| format!("CLUSTER {arguments:?}"))
}

impl RedisTopology for Cluster {
    fn url(&self) -> String {
        let nodes = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.client_port));
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
