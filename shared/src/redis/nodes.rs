//! The servers of a connection, and which of them each command goes to.

use std::time::Duration;

use deadpool_redis::Pool;
use futures_util::future::join_all;
use redis::{
    Cmd, ConnectionAddr, Pipeline, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};

use super::{
    server::{Server, expect_master, pooled, role, unavailable},
    slot_map::SlotMap,
};
use crate::time::millis;

/// The replicas that must acknowledge a write (`WAIT`).
#[derive(Clone, Copy, Debug)]
pub struct ReplicaAck {
    /// Number of replicas.
    pub replicas: u32,
    /// Time limit; must be shorter than the response time-out.
    pub timeout: Duration,
}

/// What must hold of a server after it has run commands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    None,
    /// Replicas have acknowledged the writes.
    Acknowledged(ReplicaAck),
    /// It is a master.
    IsMaster,
}

/// A server and the connections to it.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) server: Server,
    pub(super) connection: MultiplexedConnection,
    /// For commands with large responses; none in a network that is not the system's.
    pool: Option<Pool>,
}

/// The server, or the masters of a cluster and the slots that each of them owns.
pub(super) struct Nodes {
    pub(super) list: Vec<Node>,
    /// None without a cluster.
    pub(super) map: Option<SlotMap>,
}

impl Node {
    pub(super) fn new(server: Server, connection: MultiplexedConnection) -> RedisResult<Self> {
        let pool = server.pool()?;
        Ok(Self { server, connection, pool })
    }

    async fn exchange(
        &self,
        commands: Vec<Cmd>,
        condition: Condition,
        is_pooled: bool,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        match &self.pool {
            Some(pool) if is_pooled => {
                exchange(&mut *pooled(pool).await?, commands, condition).await
            }
            _ => exchange(&mut self.connection.clone(), commands, condition).await,
        }
    }
}

impl Nodes {
    pub(super) fn one(node: Node) -> Self {
        Self { list: vec![node], map: None }
    }

    /// Runs commands with one key each, in one round trip per server.
    pub(super) async fn run(
        &self,
        commands: Vec<Cmd>,
        condition: Condition,
        is_pooled: bool,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        if self.map.is_none() {
            return self.list[0].exchange(commands, condition, is_pooled).await;
        }
        let total = commands.len();
        let mut by_node: Vec<(Vec<usize>, Vec<Cmd>)> = vec![Default::default(); self.list.len()];
        for (index, command) in commands.into_iter().enumerate() {
            let master = self.node_of(&command);
            by_node[master].0.push(index);
            by_node[master].1.push(command);
        }
        let by_node =
            by_node.into_iter().enumerate().filter(|(_, (indexes, _))| !indexes.is_empty());
        let exchanges = by_node.map(|(node, (indexes, commands))| async move {
            (indexes, self.list[node].exchange(commands, condition, is_pooled).await)
        });
        let mut results: Vec<Option<RedisResult<Value>>> = vec![None; total];
        for (indexes, responses) in join_all(exchanges).await {
            for (index, response) in indexes.into_iter().zip(responses?) {
                results[index] = Some(response);
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Runs a command at the node that an `ASK` reply names; none if it owns no slot yet.
    pub(super) async fn run_asking(
        &self,
        command: Cmd,
        address: &str,
    ) -> RedisResult<Option<RedisResult<Value>>> {
        let is_named = |node: &&Node| node.server.address().to_string() == address;
        let Some(node) = self.list.iter().find(is_named) else { return Ok(None) };
        let commands = vec![redis::cmd("ASKING"), command];
        Ok(node.exchange(commands, Condition::None, false).await?.pop())
    }

    /// Returns the index of the server that owns the key of a command. Commands for a slot without
    /// an owner go to the first master, which refuses them with CLUSTERDOWN, or with MOVED once the
    /// slot has an owner.
    pub(super) fn node_of(&self, command: &Cmd) -> usize {
        self.map.as_ref().and_then(|map| map.master_of(command)).unwrap_or_default()
    }

    /// Returns the index of the server that owns a key; of the first master if none does, as any
    /// node of a cluster delivers what is published at another.
    pub(super) fn node_of_key(&self, key: &str) -> usize {
        self.map.as_ref().and_then(|map| map.master_of_key(key.as_bytes())).unwrap_or_default()
    }

    /// Returns the address of the server that owns a key.
    pub(super) fn address_of_key(&self, key: &str) -> &ConnectionAddr {
        self.list[self.node_of_key(key)].server.address()
    }

    /// Returns a key on each server: `prefix` and a number.
    pub(super) fn key_on_each(&self, prefix: &str) -> Vec<String> {
        let of_cluster = |map: &SlotMap| map.key_for_each_master(prefix);
        self.map.as_ref().map_or_else(|| vec![format!("{prefix}0")], of_cluster)
    }
}

/// Runs commands on one server in one round trip.
async fn exchange(
    connection: &mut impl ConnectionLike,
    commands: Vec<Cmd>,
    condition: Condition,
) -> RedisResult<Vec<RedisResult<Value>>> {
    let mut pipeline = Pipeline::with_capacity(commands.len() + 1);
    pipeline.ignore_errors();
    for command in commands {
        pipeline.add_command(command);
    }
    match condition {
        Condition::None => {}
        Condition::Acknowledged(ReplicaAck { replicas, timeout }) => {
            pipeline.cmd("WAIT").arg(replicas).arg(millis(timeout));
        }
        Condition::IsMaster => {
            pipeline.add_command(role());
        }
    }
    let mut results: Vec<RedisResult<Value>> = pipeline.query_async(connection).await?;
    match condition {
        Condition::None => {}
        Condition::Acknowledged(ReplicaAck { replicas, .. }) => {
            let acknowledged: u32 = match results.pop() {
                Some(response) => redis::from_redis_value(response?)?,
                None => 0,
            };
            if acknowledged < replicas && results.iter().all(Result::is_ok) {
                let detail = format!("{acknowledged} of {replicas}");
                return Err(unavailable("too few replicas acknowledged the write", detail));
            }
        }
        Condition::IsMaster => results.pop().unwrap_or(Ok(Value::Nil)).and_then(expect_master)?,
    }
    Ok(results)
}
