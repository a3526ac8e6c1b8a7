//! The connections for subscriptions. In a cluster each channel is subscribed at the master that
//! has the keys beside it, where our script publishes: nodes tell each other what is published at
//! them over links that lose it when they break, and nobody would know.

use std::{fmt, sync::Arc};

use futures_util::future::try_join_all;
use redis::{
    RedisResult,
    aio::{AsyncPushSender, MultiplexedConnection},
};

use super::{
    cluster::{SlotMap, epoch},
    server::{RequiredRole, Server, check, unavailable},
};

/// Connections with subscriptions. What is pushed goes to the receiver they were opened with.
pub struct PubSub {
    nodes: Vec<Node>,
    topology: Topology,
}

struct Node {
    connection: MultiplexedConnection,
    /// How often, as this node knows, the slots have changed hands; outside a cluster 0.
    epoch: u64,
}

enum Topology {
    Server(RequiredRole),
    Cluster(Arc<SlotMap>),
}

/// A channel to be subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// A key; the channel is published to by scripts that use it.
    pub slot_key: String,
}

impl PubSub {
    pub(super) async fn from_server(
        server: &Server,
        role: RequiredRole,
        receiver: impl AsyncPushSender,
    ) -> RedisResult<Self> {
        let connection = server.connect_with_pubsub(receiver).await?;
        Ok(Self { nodes: vec![Node { connection, epoch: 0 }], topology: Topology::Server(role) })
    }

    pub(super) async fn from_cluster(
        masters: impl Iterator<Item = &Server>,
        map: Arc<SlotMap>,
        receiver: impl AsyncPushSender + Clone,
    ) -> RedisResult<Self> {
        let connect = |server: &'_ Server| {
            let (server, receiver) = (server.clone(), receiver.clone());
            async move {
                let mut connection = server.connect_with_pubsub(receiver).await?;
                let epoch = epoch(&mut connection).await?;
                RedisResult::Ok(Node { connection, epoch })
            }
        };
        let nodes = try_join_all(masters.map(connect)).await?;
        Ok(Self { nodes, topology: Topology::Cluster(map) })
    }

    /// Subscribes to channels, and returns once that is confirmed.
    ///
    /// # Errors
    /// When Redis does not confirm it.
    pub async fn subscribe(&mut self, channels: Vec<Channel>) -> RedisResult<()> {
        let shares = self.shares(channels)?;
        let each = self.nodes.iter_mut().zip(shares).filter(|(_, names)| !names.is_empty());
        try_join_all(each.map(|(node, names)| node.connection.subscribe(names))).await.map(drop)
    }

    /// Unsubscribes from channels.
    ///
    /// # Errors
    /// When Redis does not confirm it.
    pub async fn unsubscribe(&mut self, channels: Vec<Channel>) -> RedisResult<()> {
        let shares = self.shares(channels)?;
        let each = self.nodes.iter_mut().zip(shares).filter(|(_, names)| !names.is_empty());
        try_join_all(each.map(|(node, names)| node.connection.unsubscribe(names))).await.map(drop)
    }

    /// Asks for signs of life, and whether everything is still published where it was when these
    /// connections were opened.
    ///
    /// # Errors
    /// When something may have been missed.
    pub async fn check(&mut self) -> RedisResult<()> {
        let topology = &self.topology;
        try_join_all(self.nodes.iter_mut().map(|node| node.check(topology))).await.map(drop)
    }

    /// The names of the channels of each node.
    fn shares(&self, channels: Vec<Channel>) -> RedisResult<Vec<Vec<String>>> {
        let mut shares = vec![Vec::new(); self.nodes.len()];
        for Channel { name, slot_key } in channels {
            let node = match &self.topology {
                Topology::Server(_) => Some(0),
                Topology::Cluster(map) => map.master_of_key(slot_key.as_bytes()),
            };
            let share = node.and_then(|node| shares.get_mut(node));
            share.ok_or_else(|| unavailable("no master has a key", String::new()))?.push(name);
        }
        Ok(shares)
    }
}

impl Node {
    async fn check(&mut self, topology: &Topology) -> RedisResult<()> {
        match topology {
            Topology::Server(role) => check(&mut self.connection, *role).await,
            Topology::Cluster(_) if epoch(&mut self.connection).await? == self.epoch => Ok(()),
            Topology::Cluster(_) => {
                Err(unavailable("slots of the cluster have changed hands", String::new()))
            }
        }
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}
