//! Sends each command to the node that has its key.

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

/// How long the sentinels may take to say that there is another master.
const SENTINELS_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections to the servers that commands go to. Cheap to clone; clones share them. After any
/// error connect anew: the keys may be elsewhere by then.
#[derive(Clone)]
pub struct RedisConnection {
    nodes: Arc<[(Server, MultiplexedConnection)]>,
    topology: Topology,
    /// Where commands go that are not to hold up others, one for each node.
    pools: Option<Arc<[Pool]>>,
}

#[derive(Clone)]
enum Topology {
    Standalone,
    Sentinel(Arc<Sentinels>),
    Cluster(Arc<SlotMap>),
}

/// How many replicas must have a write, and how long they may take.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaAck {
    /// How many.
    pub replicas: u32,
    /// How long; shorter than the longest wait for an answer.
    pub timeout: Duration,
}

impl RedisConnection {
    pub(super) async fn to_server(servers: &Servers) -> RedisResult<Self> {
        let server = servers.given()?;
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

    /// Connections for subscriptions to the same servers.
    pub(super) async fn connect_with_pubsub(
        &self,
        receiver: impl AsyncPushSender + Clone,
    ) -> RedisResult<PubSub> {
        let mut servers = self.nodes.iter().map(|(server, _)| server);
        let role = match &self.topology {
            Topology::Standalone => RequiredRole::Any,
            Topology::Sentinel(_) => RequiredRole::Master,
            Topology::Cluster(map) => {
                return PubSub::from_cluster(servers, Arc::clone(map), receiver).await;
            }
        };
        let server =
            servers.next().ok_or_else(|| unavailable("there is no server", String::new()))?;
        PubSub::from_server(server, role, receiver).await
    }

    /// The same servers over connections of their own, from a pool: for occasional work whose
    /// answers may be large.
    ///
    /// # Errors
    /// When the address asks for something that the client cannot do.
    pub fn pooled(&self) -> RedisResult<Self> {
        let pools = self.nodes.iter().map(|(server, _)| server.pool());
        let pools = pools.collect::<RedisResult<Vec<Pool>>>()?;
        Ok(Self { pools: Some(pools.into()), ..self.clone() })
    }

    /// Runs commands that have a key each, in one round trip, with a result for each. Those of
    /// one key keep their order.
    ///
    /// # Errors
    /// When any of the servers does not answer, or a key is nowhere.
    pub async fn run(&self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        self.spread(commands, None).await
    }

    /// As [`RedisConnection::run`], and waits until replicas have what was written so far over these
    /// connections; at least one of the commands must write at each server.
    ///
    /// # Errors
    /// As [`RedisConnection::run`], and when too few replicas have it in time.
    pub async fn run_with_ack(
        &self,
        commands: Vec<Cmd>,
        ack: ReplicaAck,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        self.spread(commands, Some(ack)).await
    }

    /// Runs a command at every server.
    ///
    /// # Errors
    /// When any of them fails.
    pub async fn run_on_all_nodes(&self, command: &Cmd) -> RedisResult<Vec<Value>> {
        let run = |(_, connection): &(Server, MultiplexedConnection)| {
            let mut connection = connection.clone();
            async move { command.query_async(&mut connection).await }
        };
        try_join_all(self.nodes.iter().map(run)).await
    }

    /// Asks each server for a sign of life, and whether it is still the one to use.
    ///
    /// # Errors
    /// When any of them is not.
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
        // A master that was cut off from its sentinels goes on believing that it is one.
        let moved_on = sentinels.have_moved_on_from(self.nodes[0].0.address());
        let moved_on = tokio::time::timeout(SENTINELS_TIMEOUT, moved_on);
        let (servers, moved_on) = tokio::join!(servers, moved_on);
        if moved_on.unwrap_or(false) {
            return Err(unavailable("the sentinels have another master", String::new()));
        }
        servers.map(|_| ())
    }

    async fn spread(
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
        let mut shares: Vec<(Vec<usize>, Vec<Cmd>)> = vec![Default::default(); self.nodes.len()];
        for (place, command) in commands.into_iter().enumerate() {
            let master = map.master_of(&command);
            let master = master.ok_or_else(|| unavailable("no master has a key", String::new()))?;
            shares[master].0.push(place);
            shares[master].1.push(command);
        }
        let shares = shares.into_iter().enumerate().filter(|(_, (places, _))| !places.is_empty());
        let exchanges = shares.map(|(node, (places, commands))| async move {
            (places, self.exchange(node, commands, ack).await)
        });
        let mut results: Vec<Option<RedisResult<Value>>> = vec![None; total];
        for (places, answers) in join_all(exchanges).await {
            for (place, answer) in places.into_iter().zip(answers?) {
                results[place] = Some(answer);
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
            Some(pools) => exchange(&mut pooled(&pools[node]).await?, commands, ack).await,
            None => exchange(&mut self.nodes[node].1.clone(), commands, ack).await,
        }
    }
}

/// One round trip to one server.
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
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        pipeline.cmd("WAIT").arg(replicas).arg(millis);
    }
    let mut results: Vec<RedisResult<Value>> = pipeline.query_async(connection).await?;
    if let Some(ReplicaAck { replicas, .. }) = ack {
        let have: u32 = match results.pop() {
            Some(answer) => redis::from_redis_value(answer?)?,
            None => 0,
        };
        if have < replicas && results.iter().all(Result::is_ok) {
            let detail = format!("{have} of {replicas}");
            return Err(unavailable("too few replicas have what was written", detail));
        }
    }
    Ok(results)
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = super::url::list(self.nodes.iter().map(|(server, _)| server.address()));
        match &self.topology {
            Topology::Standalone => write!(f, "{addresses}"),
            Topology::Sentinel(_) => write!(f, "{addresses}, the sentinels' master"),
            Topology::Cluster(_) => write!(f, "{addresses}, the masters of the cluster"),
        }
    }
}
