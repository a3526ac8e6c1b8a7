//! Pub/sub connections. In a cluster each channel is subscribed on the master that owns its key,
//! where the publish script runs: messages that nodes forward to each other are lost without notice
//! when a cluster link breaks.

use std::{fmt, sync::Arc};

use futures_util::future::try_join_all;
use redis::{
    RedisResult,
    aio::{AsyncPushSender, MultiplexedConnection},
};

use super::{
    cluster::{SlotMap, current_epoch},
    server::{RequiredRole, Server, check, unavailable},
};

/// Pub/sub connections; messages go to the handler that they were opened with.
pub struct PubSub {
    nodes: Vec<Node>,
    topology: Topology,
}

struct Node {
    connection: MultiplexedConnection,
    /// The cluster epoch when the connection was opened; 0 without a cluster.
    epoch: u64,
}

enum Topology {
    Server(RequiredRole),
    Cluster(Arc<SlotMap>),
}

/// A channel to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// The key whose slot decides on which master scripts publish to the channel.
    pub slot_key: String,
}

impl PubSub {
    pub(super) async fn from_server(
        server: &Server,
        role: RequiredRole,
        handler: impl AsyncPushSender,
    ) -> RedisResult<Self> {
        let connection = server.connect_with_pubsub(handler).await?;
        Ok(Self { nodes: vec![Node { connection, epoch: 0 }], topology: Topology::Server(role) })
    }

    pub(super) async fn from_cluster(
        masters: impl Iterator<Item = &Server>,
        map: Arc<SlotMap>,
        handler: impl AsyncPushSender + Clone,
    ) -> RedisResult<Self> {
        let connect = |server: &'_ Server| {
            let (server, handler) = (server.clone(), handler.clone());
            async move {
                let mut connection = server.connect_with_pubsub(handler).await?;
                let epoch = current_epoch(&mut connection).await?;
                RedisResult::Ok(Node { connection, epoch })
            }
        };
        let nodes = try_join_all(masters.map(connect)).await?;
        Ok(Self { nodes, topology: Topology::Cluster(map) })
    }

    /// Subscribes to channels and waits for the confirmation.
    ///
    /// # Errors
    /// If Redis does not confirm.
    pub async fn subscribe(&mut self, channels: Vec<Channel>) -> RedisResult<()> {
        let names = self.by_node(channels)?;
        let each = self.nodes.iter_mut().zip(names).filter(|(_, names)| !names.is_empty());
        try_join_all(each.map(|(node, names)| node.connection.subscribe(names))).await.map(drop)
    }

    /// Unsubscribes from channels and waits for the confirmation.
    ///
    /// # Errors
    /// If Redis does not confirm.
    pub async fn unsubscribe(&mut self, channels: Vec<Channel>) -> RedisResult<()> {
        let names = self.by_node(channels)?;
        let each = self.nodes.iter_mut().zip(names).filter(|(_, names)| !names.is_empty());
        try_join_all(each.map(|(node, names)| node.connection.unsubscribe(names))).await.map(drop)
    }

    /// Checks that every server responds and that no slot has moved since the connections were
    /// opened.
    ///
    /// # Errors
    /// If messages may have been missed.
    pub async fn check(&mut self) -> RedisResult<()> {
        let topology = &self.topology;
        try_join_all(self.nodes.iter_mut().map(|node| node.check(topology))).await.map(drop)
    }

    /// Returns channels to which each server publishes one: `name`, or in a cluster names that
    /// begin with it, one for each master.
    #[must_use]
    pub fn channel_of_each_server(&self, name: &str) -> Vec<Channel> {
        let names = match &self.topology {
            Topology::Server(_) => vec![name.to_owned()],
            Topology::Cluster(map) => map.key_for_each_master(name),
        };
        names.into_iter().map(|name| Channel { slot_key: name.clone(), name }).collect()
    }

    /// Groups channel names by node.
    fn by_node(&self, channels: Vec<Channel>) -> RedisResult<Vec<Vec<String>>> {
        let mut names = vec![Vec::new(); self.nodes.len()];
        for Channel { name, slot_key } in channels {
            let node = match &self.topology {
                Topology::Server(_) => Some(0),
                Topology::Cluster(map) => map.master_of_key(slot_key.as_bytes()),
            };
            let channels = node.and_then(|node| names.get_mut(node));
            channels
                .ok_or_else(|| unavailable("no master owns the slot of a key", String::new()))?
                .push(name);
        }
        Ok(names)
    }
}

impl Node {
    async fn check(&mut self, topology: &Topology) -> RedisResult<()> {
        match topology {
            Topology::Server(role) => check(&mut self.connection, *role).await,
            Topology::Cluster(_) if current_epoch(&mut self.connection).await? == self.epoch => {
                Ok(())
            }
            Topology::Cluster(_) => {
                Err(unavailable("the cluster epoch changed: slots may have moved", String::new()))
            }
        }
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}
