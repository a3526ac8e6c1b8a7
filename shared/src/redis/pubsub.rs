//! Pub/sub connections. In a cluster each channel is subscribed on the master that owns its key,
//! where the publish script runs: messages that nodes forward to each other are lost without notice
//! when a cluster link breaks.

use std::{fmt, sync::Arc};

use futures_util::future::try_join_all;
use redis::{
    PushInfo, RedisResult,
    aio::{AsyncPushSender, MultiplexedConnection},
};

use super::{
    cluster::current_epoch,
    nodes::Nodes,
    server::{Replication, RequiredRole, Server, check, unavailable},
};

/// Pub/sub connections; messages go to the handler that they were opened with.
pub struct PubSub {
    nodes: Arc<Nodes>,
    /// One for each node, in the same order.
    subscribers: Vec<Subscriber>,
    role: RequiredRole,
    handler: Arc<dyn AsyncPushSender>,
}

#[derive(Clone)]
struct Subscriber {
    connection: MultiplexedConnection,
    /// The cluster epoch at the last check; 0 without a cluster.
    epoch: u64,
    /// What a server of any role was at the last check.
    replication: Option<Replication>,
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
    pub(super) async fn connect(
        nodes: Arc<Nodes>,
        role: RequiredRole,
        handler: Arc<dyn AsyncPushSender>,
    ) -> RedisResult<Self> {
        let connect = nodes.list.iter().map(|node| subscribe_to(&nodes, &node.server, &handler));
        let subscribers = try_join_all(connect).await?;
        Ok(Self { nodes, subscribers, role, handler })
    }

    /// Returns pub/sub connections to other nodes; none if they are the same. Connections to the
    /// same servers are shared.
    pub(super) async fn after_moves(&self, nodes: Arc<Nodes>) -> RedisResult<Option<Self>> {
        if Arc::ptr_eq(&nodes, &self.nodes) {
            return Ok(None);
        }
        let subscribers = nodes.list.iter().map(|node| async {
            let mut known = self.nodes.list.iter().zip(&self.subscribers);
            let known = known.find(|(known, _)| known.server.address() == node.server.address());
            match known {
                Some((_, subscriber)) => Ok(subscriber.clone()),
                None => subscribe_to(&nodes, &node.server, &self.handler).await,
            }
        });
        let subscribers = try_join_all(subscribers).await?;
        let (role, handler) = (self.role, Arc::clone(&self.handler));
        Ok(Some(Self { nodes, subscribers, role, handler }))
    }

    /// Returns whether a channel has to be subscribed at another server in `next`.
    #[must_use]
    pub fn is_elsewhere_in(&self, next: &Self, channel: &Channel) -> bool {
        self.is_elsewhere(&next.nodes, channel)
    }

    /// Returns whether others of these servers than the one that it is subscribed at would publish
    /// to a channel.
    pub(super) fn is_elsewhere(&self, nodes: &Nodes, channel: &Channel) -> bool {
        let key = &channel.slot_key;
        self.nodes.address_of_key(key) != nodes.address_of_key(key)
    }

    /// Subscribes to channels and waits for the confirmation.
    ///
    /// # Errors
    /// If Redis does not confirm.
    pub async fn subscribe(&mut self, channels: Vec<Channel>) -> RedisResult<()> {
        let names = self.by_node(channels);
        let each = self.subscribers.iter_mut().zip(names).filter(|(_, names)| !names.is_empty());
        try_join_all(each.map(|(node, names)| node.connection.subscribe(names))).await.map(drop)
    }

    /// Unsubscribes from channels and waits for the confirmation.
    ///
    /// # Errors
    /// If Redis does not confirm.
    pub async fn unsubscribe(&mut self, channels: Vec<Channel>) -> RedisResult<()> {
        let names = self.by_node(channels);
        let each = self.subscribers.iter_mut().zip(names).filter(|(_, names)| !names.is_empty());
        try_join_all(each.map(|(node, names)| node.connection.unsubscribe(names))).await.map(drop)
    }

    /// Checks that every server responds. Returns the index of one whose cluster epoch has changed:
    /// slots may have moved.
    ///
    /// # Errors
    /// If messages may have been missed.
    pub async fn check(&mut self) -> RedisResult<Option<usize>> {
        let (is_cluster, role) = (self.nodes.map.is_some(), self.role);
        let checks = self.subscribers.iter_mut().map(|node| node.check(is_cluster, role));
        let have_changed = try_join_all(checks).await?;
        Ok(have_changed.into_iter().position(|has_changed| has_changed))
    }

    /// Returns channels to which each server publishes one: `name`, or in a cluster names that
    /// begin with it, one for each master.
    #[must_use]
    pub fn channel_of_each_server(&self, name: &str) -> Vec<Channel> {
        let is_cluster = self.nodes.map.is_some();
        let names = if is_cluster { self.nodes.key_on_each(name) } else { vec![name.to_owned()] };
        names.into_iter().map(|name| Channel { slot_key: name.clone(), name }).collect()
    }

    /// Groups channel names by node.
    fn by_node(&self, channels: Vec<Channel>) -> Vec<Vec<String>> {
        let mut names = vec![Vec::new(); self.subscribers.len()];
        for Channel { name, slot_key } in channels {
            names[self.nodes.node_of_key(&slot_key)].push(name);
        }
        names
    }
}

/// Opens a pub/sub connection to one of the servers.
async fn subscribe_to(
    nodes: &Nodes,
    server: &Server,
    handler: &Arc<dyn AsyncPushSender>,
) -> RedisResult<Subscriber> {
    let handler = Arc::clone(handler);
    let handler = move |push: PushInfo| handler.send(push);
    let mut connection = server.connect_with_pubsub(handler).await?;
    let is_cluster = nodes.map.is_some();
    let epoch = if is_cluster { current_epoch(&mut connection).await? } else { 0 };
    Ok(Subscriber { connection, epoch, replication: None })
}

impl Subscriber {
    /// Checks that the server responds. Returns whether its cluster epoch has changed.
    async fn check(&mut self, is_cluster: bool, role: RequiredRole) -> RedisResult<bool> {
        if !is_cluster {
            check(&mut self.connection, role).await?;
            if role == RequiredRole::Any {
                self.check_replication().await?;
            }
            return Ok(false);
        }
        let epoch = current_epoch(&mut self.connection).await?;
        Ok(std::mem::replace(&mut self.epoch, epoch) != epoch)
    }

    /// Checks that a server of any role has not got in sync with a master since the last check. It
    /// was not sent what that published before.
    async fn check_replication(&mut self) -> RedisResult<()> {
        const IN_SYNC: Replication = Replication::Replica { is_connected: true };
        let replication = Replication::of(&mut self.connection).await?;
        let before = self.replication.replace(replication);
        if replication == IN_SYNC && before.is_some_and(|before| before != IN_SYNC) {
            let detail = "what this has published before was not received";
            return Err(unavailable("the server got in sync with a master", detail.to_owned()));
        }
        Ok(())
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("nodes", &self.subscribers.len()).finish_non_exhaustive()
    }
}
