//! Sends commands to the nodes that own their keys, in one round trip per node.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures_util::future::try_join_all;
use redis::{Cmd, RedisError, RedisResult, Value, aio::AsyncPushSender};

use super::{
    cluster::Cluster,
    nodes::{Condition, Node, Nodes, ReplicaAck},
    pubsub::{Channel, PubSub},
    sentinel::Sentinels,
    server::{RequiredRole, Servers, check, expect_master, role, unavailable},
};

/// Time limit for the sentinels' vote in a health check; a slow vote counts as no change.
const VOTE_TIMEOUT: Duration = Duration::from_secs(1);

/// Multiplexed connections to all masters. Clones share them. After any error, connect again: the
/// keys may have moved to another server.
#[derive(Clone)]
pub struct RedisConnection {
    /// Replaced when slots of a cluster have moved.
    nodes: Arc<RwLock<Arc<Nodes>>>,
    topology: Topology,
    /// Whether commands take connections from pools: large responses would delay others.
    is_pooled: bool,
}

#[derive(Clone)]
enum Topology {
    Standalone,
    Sentinel(Arc<Sentinels>),
    Cluster(Arc<Cluster>),
}

impl RedisConnection {
    pub(super) async fn to_server(servers: &Servers) -> RedisResult<Self> {
        let server = servers.configured()?;
        let connection = server.connect().await?;
        Ok(Self::new(Nodes::one(Node::new(server, connection)?), Topology::Standalone))
    }

    pub(super) async fn to_master(sentinels: &Arc<Sentinels>) -> RedisResult<Self> {
        let (server, connection) = sentinels.connect().await?;
        let topology = Topology::Sentinel(Arc::clone(sentinels));
        Ok(Self::new(Nodes::one(Node::new(server, connection)?), topology))
    }

    pub(super) async fn to_cluster(cluster: &Arc<Cluster>) -> RedisResult<Self> {
        Ok(Self::new(cluster.connect().await?, Topology::Cluster(Arc::clone(cluster))))
    }

    fn new(nodes: Nodes, topology: Topology) -> Self {
        Self { nodes: Arc::new(RwLock::new(Arc::new(nodes))), topology, is_pooled: false }
    }

    /// Opens pub/sub connections to the same servers.
    pub(super) async fn open_pubsub(&self, handler: impl AsyncPushSender) -> RedisResult<PubSub> {
        PubSub::connect(self.nodes(), self.required_role(), Arc::new(handler)).await
    }

    /// Returns pub/sub connections to the servers to which commands go now; none if no slot has
    /// moved. Those of `pubsub` to the same servers are shared.
    ///
    /// # Errors
    /// If a server does not respond.
    pub async fn follow(&self, pubsub: &PubSub) -> RedisResult<Option<PubSub>> {
        pubsub.after_moves(self.nodes()).await
    }

    /// Returns whether commands for the key of a channel go to another server than the one where
    /// `pubsub` is subscribed to it.
    #[must_use]
    pub fn has_moved(&self, pubsub: &PubSub, channel: &Channel) -> bool {
        pubsub.is_elsewhere(&self.nodes(), channel)
    }

    fn required_role(&self) -> RequiredRole {
        match &self.topology {
            // If there is no other one, what it has is of use.
            Topology::Standalone => RequiredRole::Any,
            Topology::Sentinel(_) | Topology::Cluster(_) => RequiredRole::Master,
        }
    }

    /// Returns a handle to the same servers that takes connections from a pool: for occasional
    /// commands with large responses.
    #[must_use]
    pub fn pooled(&self) -> Self {
        Self { is_pooled: true, ..self.clone() }
    }

    /// Runs commands with one key each and returns a result for each. Commands with the same key
    /// run in order.
    ///
    /// # Errors
    /// If a server does not respond.
    pub async fn run(&self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        self.nodes().run(commands, Condition::None, self.is_pooled).await
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
        self.nodes().run(commands, Condition::Acknowledged(ack), self.is_pooled).await
    }

    /// Does what [`RedisConnection::run_where_moved`] does, but only on masters: what a former master
    /// has may be old, and it answers for as long as a connection to it stays open. A standalone
    /// server is used in any case. Returns with the replies whether they are those of masters.
    ///
    /// # Errors
    /// As [`RedisConnection::run`], and if a server is a replica and not standalone.
    pub async fn run_on_masters(
        &self,
        mut commands: Vec<Cmd>,
    ) -> RedisResult<(Vec<RedisResult<Value>>, bool)> {
        let replies = match &self.topology {
            Topology::Standalone => {
                commands.push(role());
                let mut replies = self.run(commands).await?;
                let role = replies.pop().unwrap_or(Ok(Value::Nil));
                return Ok((replies, role.and_then(expect_master).is_ok()));
            }
            Topology::Sentinel(_) => {
                self.nodes().run(commands, Condition::IsMaster, self.is_pooled).await
            }
            // A replica redirects the commands.
            Topology::Cluster(_) => self.run_where_moved(commands).await,
        };
        Ok((replies?, true))
    }

    /// Does what [`RedisConnection::run`] does. Where a slot has moved to another master, reads the
    /// slot map again and runs its commands there, once.
    ///
    /// # Errors
    /// As [`RedisConnection::run`].
    pub async fn run_where_moved(
        &self,
        commands: Vec<Cmd>,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        if !matches!(self.topology, Topology::Cluster(_)) {
            return self.run(commands).await;
        }
        let mut replies = self.run(commands.clone()).await?;
        let has_moved = |reply: &RedisResult<Value>| {
            reply.as_ref().is_err_and(|error| error.code() == Some("MOVED"))
        };
        let moved: Vec<usize> = (0..replies.len()).filter(|&i| has_moved(&replies[i])).collect();
        let Some(&first) = moved.first() else { return Ok(replies) };
        if self.refresh(Some(self.nodes().node_of(&commands[first]))).await.is_err() {
            return Ok(replies);
        }
        let again = moved.iter().map(|&index| commands[index].clone()).collect();
        for (index, reply) in moved.into_iter().zip(self.run(again).await?) {
            replies[index] = reply;
        }
        Ok(replies)
    }

    /// Runs one command with one key, and once more where the slot has moved to (`MOVED`), or where
    /// the key is while its slot moves (`ASK`).
    ///
    /// # Errors
    /// If a server does not respond, or refuses the command.
    pub async fn run_one(&self, command: Cmd) -> RedisResult<Value> {
        let mut replies = self.run_where_moved(vec![command.clone()]).await?;
        let reply = replies.pop().unwrap_or(Ok(Value::Nil));
        let redirection = reply.as_ref().err().filter(|error| error.code() == Some("ASK"));
        let Some((address, _)) = redirection.and_then(RedisError::redirect_node) else {
            return reply;
        };
        match self.nodes().run_asking(command, address).await? {
            Some(redirected) => redirected,
            None => reply,
        }
    }

    /// Reads the slot map of a cluster again, from one of the masters.
    ///
    /// # Errors
    /// If that master, or one that is new, does not respond. The earlier map stays in use.
    pub async fn refresh(&self, asked: Option<usize>) -> RedisResult<()> {
        let Topology::Cluster(cluster) = &self.topology else { return Ok(()) };
        let known = self.nodes();
        if let Some(nodes) = cluster.refresh(&known, asked.unwrap_or_default()).await? {
            *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(nodes);
        }
        Ok(())
    }

    /// Runs a command on every master.
    ///
    /// # Errors
    /// If the command fails on any of them.
    pub async fn run_on_all_nodes(&self, command: &Cmd) -> RedisResult<Vec<Value>> {
        let nodes = self.nodes();
        let run = |node: &Node| {
            let mut connection = node.connection.clone();
            async move { command.query_async(&mut connection).await }
        };
        try_join_all(nodes.list.iter().map(run)).await
    }

    /// Returns a key on each master: `prefix` and a number.
    #[must_use]
    pub fn key_on_each_master(&self, prefix: &str) -> Vec<String> {
        self.nodes().key_on_each(prefix)
    }

    /// Checks that every server responds and is still the master.
    ///
    /// # Errors
    /// If a server does not respond, is a replica, or was replaced by the sentinels.
    pub async fn check(&self) -> RedisResult<()> {
        let (nodes, role) = (self.nodes(), self.required_role());
        let checks = nodes.list.iter().map(|node| {
            let mut connection = node.connection.clone();
            async move { check(&mut connection, role).await }
        });
        let servers = try_join_all(checks);
        let Topology::Sentinel(sentinels) = &self.topology else {
            return servers.await.map(|_| ());
        };
        // A master in a network partition still reports the role of a master.
        let replaced = sentinels.name_another_master_than(nodes.list[0].server.address());
        let replaced = tokio::time::timeout(VOTE_TIMEOUT, replaced);
        let (servers, replaced) = tokio::join!(servers, replaced);
        if replaced.unwrap_or(false) {
            return Err(unavailable("the sentinels name another master", String::new()));
        }
        servers.map(|_| ())
    }

    /// Returns the servers that commands go to now.
    pub(super) fn nodes(&self) -> Arc<Nodes> {
        Arc::clone(&self.nodes.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes();
        let addresses = super::url::join(nodes.list.iter().map(|node| node.server.address()));
        match &self.topology {
            Topology::Standalone => write!(f, "{addresses}"),
            Topology::Sentinel(_) => write!(f, "{addresses} (Sentinel)"),
            Topology::Cluster(_) => write!(f, "{addresses} (Cluster)"),
        }
    }
}
