//! Sends commands to the nodes that own their keys, in one round trip per node.

use std::{fmt, sync::Arc, time::Duration};

use deadpool_redis::Pool;
use futures_util::future::{join_all, try_join_all};
use redis::{
    Cmd, Pipeline, RedisResult, Value,
    aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection},
};

use super::{
    cluster::{Cluster, SlotMap},
    pubsub::PubSub,
    sentinel::Sentinels,
    server::{RequiredRole, Server, Servers, check, pooled, unavailable},
};
use crate::time::millis;

/// Time limit for the sentinels' vote in a health check; a slow vote counts as no change.
const VOTE_TIMEOUT: Duration = Duration::from_secs(1);

/// Multiplexed connections to all masters. Clones share them. After any error, connect again: the
/// keys may have moved to another server.
#[derive(Clone)]
pub struct RedisConnection {
    nodes: Arc<[(Server, MultiplexedConnection)]>,
    topology: Topology,
    /// One pool per node, for commands with large responses that would delay others.
    pools: Option<Arc<[Pool]>>,
}

#[derive(Clone)]
enum Topology {
    Standalone,
    Sentinel(Arc<Sentinels>),
    Cluster(Arc<SlotMap>),
}

/// The replicas that must acknowledge a write (`WAIT`).
#[derive(Clone, Copy, Debug)]
pub struct ReplicaAck {
    /// Number of replicas.
    pub replicas: u32,
    /// Time limit; must be shorter than the response time-out.
    pub timeout: Duration,
}

impl RedisConnection {
    pub(super) async fn to_server(servers: &Servers) -> RedisResult<Self> {
        let server = servers.configured()?;
        let connection = server.connect().await?;
        Ok(Self {
            nodes: [(server, connection)].into(),
            topology: Topology::Standalone,
            pools: None,
        })
    }

    pub(super) async fn to_master(sentinels: &Arc<Sentinels>) -> RedisResult<Self> {
        let node = sentinels.connect().await?;
        let topology = Topology::Sentinel(Arc::clone(sentinels));
        Ok(Self { nodes: [node].into(), topology, pools: None })
    }

    pub(super) async fn to_cluster(cluster: &Cluster) -> RedisResult<Self> {
        let (map, nodes) = cluster.connect().await?;
        Ok(Self { nodes: nodes.into(), topology: Topology::Cluster(Arc::new(map)), pools: None })
    }

    /// Opens pub/sub connections to the same servers.
    pub(super) async fn open_pubsub(
        &self,
        handler: impl AsyncPushSender + Clone,
    ) -> RedisResult<PubSub> {
        let mut servers = self.nodes.iter().map(|(server, _)| server);
        let role = match &self.topology {
            Topology::Standalone => RequiredRole::Any,
            Topology::Sentinel(_) => RequiredRole::Master,
            Topology::Cluster(map) => {
                return PubSub::from_cluster(servers, Arc::clone(map), handler).await;
            }
        };
        let server =
            servers.next().ok_or_else(|| unavailable("no server configured", String::new()))?;
        PubSub::from_server(server, role, handler).await
    }

    /// Returns a handle to the same servers that takes connections from a pool: for occasional
    /// commands with large responses.
    ///
    /// # Errors
    /// If the URL requires something that the `redis` crate does not support.
    pub fn pooled(&self) -> RedisResult<Self> {
        let pools = self.nodes.iter().map(|(server, _)| server.pool());
        let pools = pools.collect::<RedisResult<Vec<Option<Pool>>>>()?;
        let pools = pools.into_iter().collect::<Option<Vec<Pool>>>().map(Into::into);
        Ok(Self { pools, ..self.clone() })
    }

    /// Runs commands with one key each and returns a result for each. Commands with the same key
    /// run in order.
    ///
    /// # Errors
    /// If a server does not respond, or no master owns the slot of a key.
    pub async fn run(&self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        self.route(commands, None).await
    }

    /// Does what [`RedisConnection::run`] does, then waits until replicas have acknowledged all
    /// writes of these connections. At least one command per server must write.
    ///
    /// # Errors
    /// As [`RedisConnection::run`], and if too few replicas acknowledge in time.
    pub async fn run_with_ack(
        &self,
        commands: Vec<Cmd>,
        ack: ReplicaAck,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        self.route(commands, Some(ack)).await
    }

    /// Runs a command on every master.
    ///
    /// # Errors
    /// If the command fails on any of them.
    pub async fn run_on_all_nodes(&self, command: &Cmd) -> RedisResult<Vec<Value>> {
        let run = |(_, connection): &(Server, MultiplexedConnection)| {
            let mut connection = connection.clone();
            async move { command.query_async(&mut connection).await }
        };
        try_join_all(self.nodes.iter().map(run)).await
    }

    /// Returns a key on each master: `prefix` and a number.
    #[must_use]
    pub fn key_on_each_master(&self, prefix: &str) -> Vec<String> {
        match &self.topology {
            Topology::Cluster(map) => map.key_for_each_master(prefix),
            Topology::Standalone | Topology::Sentinel(_) => vec![format!("{prefix}0")],
        }
    }

    /// Checks that every server responds and is still the master.
    ///
    /// # Errors
    /// If a server does not respond, is a replica, or was replaced by the sentinels.
    pub async fn check(&self) -> RedisResult<()> {
        let role = match &self.topology {
            Topology::Standalone => RequiredRole::Any,
            Topology::Sentinel(_) | Topology::Cluster(_) => RequiredRole::Master,
        };
        let checks = self.nodes.iter().map(|(_, connection)| {
            let mut connection = connection.clone();
            async move { check(&mut connection, role).await }
        });
        let servers = try_join_all(checks);
        let Topology::Sentinel(sentinels) = &self.topology else {
            return servers.await.map(|_| ());
        };
        // A master in a network partition still reports the role of a master.
        let replaced = sentinels.name_another_master_than(self.nodes[0].0.address());
        let replaced = tokio::time::timeout(VOTE_TIMEOUT, replaced);
        let (servers, replaced) = tokio::join!(servers, replaced);
        if replaced.unwrap_or(false) {
            return Err(unavailable("the sentinels name another master", String::new()));
        }
        servers.map(|_| ())
    }

    async fn route(
        &self,
        commands: Vec<Cmd>,
        ack: Option<ReplicaAck>,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let Topology::Cluster(map) = &self.topology else {
            return self.exchange(0, commands, ack).await;
        };
        let total = commands.len();
        let mut by_node: Vec<(Vec<usize>, Vec<Cmd>)> = vec![Default::default(); self.nodes.len()];
        for (index, command) in commands.into_iter().enumerate() {
            let master = map.master_of(&command);
            let master = master
                .ok_or_else(|| unavailable("no master owns the slot of a key", String::new()))?;
            by_node[master].0.push(index);
            by_node[master].1.push(command);
        }
        let by_node =
            by_node.into_iter().enumerate().filter(|(_, (indexes, _))| !indexes.is_empty());
        let exchanges = by_node.map(|(node, (indexes, commands))| async move {
            (indexes, self.exchange(node, commands, ack).await)
        });
        let mut results: Vec<Option<RedisResult<Value>>> = vec![None; total];
        for (indexes, responses) in join_all(exchanges).await {
            for (index, response) in indexes.into_iter().zip(responses?) {
                results[index] = Some(response);
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    async fn exchange(
        &self,
        node: usize,
        commands: Vec<Cmd>,
        ack: Option<ReplicaAck>,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        match &self.pools {
            Some(pools) => exchange(&mut *pooled(&pools[node]).await?, commands, ack).await,
            None => exchange(&mut self.nodes[node].1.clone(), commands, ack).await,
        }
    }
}

/// Runs commands on one server in one round trip.
async fn exchange(
    connection: &mut impl ConnectionLike,
    commands: Vec<Cmd>,
    ack: Option<ReplicaAck>,
) -> RedisResult<Vec<RedisResult<Value>>> {
    let mut pipeline = Pipeline::with_capacity(commands.len() + 1);
    pipeline.ignore_errors();
    for command in commands {
        pipeline.add_command(command);
    }
    if let Some(ReplicaAck { replicas, timeout }) = ack {
        pipeline.cmd("WAIT").arg(replicas).arg(millis(timeout));
    }
    let mut results: Vec<RedisResult<Value>> = pipeline.query_async(connection).await?;
    if let Some(ReplicaAck { replicas, .. }) = ack {
        let acknowledged: u32 = match results.pop() {
            Some(response) => redis::from_redis_value(response?)?,
            None => 0,
        };
        if acknowledged < replicas && results.iter().all(Result::is_ok) {
            let detail = format!("{acknowledged} of {replicas}");
            return Err(unavailable("too few replicas acknowledged the write", detail));
        }
    }
    Ok(results)
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = super::url::join(self.nodes.iter().map(|(server, _)| server.address()));
        match &self.topology {
            Topology::Standalone => write!(f, "{addresses}"),
            Topology::Sentinel(_) => write!(f, "{addresses} (Sentinel)"),
            Topology::Cluster(_) => write!(f, "{addresses} (Cluster)"),
        }
    }
}
