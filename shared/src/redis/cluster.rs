//! Redis Cluster: discovery of the masters and of the slots that each of them owns.

use std::sync::{Mutex, PoisonError};

use futures_util::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use redis::{
    ConnectionAddr, ConnectionInfo, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};

use super::{
    dial::Network,
    nodes::{Node, Nodes},
    server::{Limits, RequiredRole, Servers, check, unavailable},
    slot_map::SlotMap,
    url::join,
};

/// A cluster, of which at least one node is known.
#[derive(Debug)]
pub(super) struct Cluster {
    servers: Servers,
    seeds: Vec<ConnectionAddr>,
    /// The nodes seen at the last connect, in case all seeds have been replaced since.
    last_seen: Mutex<Vec<ConnectionAddr>>,
}

impl Cluster {
    pub(super) fn new(
        seeds: Vec<ConnectionInfo>,
        limits: Limits,
        network: Network,
    ) -> RedisResult<Self> {
        let addresses = seeds.iter().map(|seed| seed.addr().clone()).collect();
        let first = seeds.into_iter().next();
        let first =
            first.ok_or_else(|| unavailable("no cluster node configured", String::new()))?;
        let servers = Servers::new(first, limits, network)?;
        Ok(Self { servers, seeds: addresses, last_seen: Mutex::default() })
    }

    /// Connects to all masters that the first healthy node names.
    ///
    /// # Errors
    /// If no node returns a slot map, or a master is unreachable.
    pub(super) async fn connect(&self) -> RedisResult<Nodes> {
        self.connect_to_masters(self.slot_map().await?, &[]).await
    }

    /// Reads the slot map again, from a connected master, and connects to masters that are new.
    /// Returns none if the map has not changed.
    ///
    /// # Errors
    /// If that master, or one that is new, does not respond.
    pub(super) async fn refresh(&self, known: &Nodes, asked: usize) -> RedisResult<Option<Nodes>> {
        let Node { server, connection, .. } = &known.list[asked % known.list.len()];
        let map = slot_map_of(&mut connection.clone(), server.address()).await?;
        if known.map.as_ref() == Some(&map) {
            return Ok(None);
        }
        self.connect_to_masters(map, &known.list).await.map(Some)
    }

    /// Connects to the masters of a slot map, except those that are known.
    async fn connect_to_masters(&self, map: SlotMap, known: &[Node]) -> RedisResult<Nodes> {
        if map.masters.is_empty() {
            return Err(unavailable("no master owns a slot", String::new()));
        }
        let address = |(host, port): &(String, u16)| self.servers.address(host.clone(), *port);
        let masters = map.masters.iter().map(address).map(|address| async move {
            match known.iter().find(|node| *node.server.address() == address) {
                Some(node) => Ok(node.clone()),
                None => self.connect_to(address).await,
            }
        });
        let list = try_join_all(masters).await?;
        let all = map.masters.iter().chain(&map.replicas).map(address);
        *self.last_seen.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
        Ok(Nodes { list, map: Some(map) })
    }

    async fn connect_to(&self, address: ConnectionAddr) -> RedisResult<Node> {
        let server = self.servers.at(address)?;
        let connected = async {
            let mut connection = server.connect().await?;
            check(&mut connection, RequiredRole::Master).await?;
            RedisResult::Ok(connection)
        };
        let with_address = |error: RedisError| match error.kind() {
            redis::ErrorKind::Io => {
                let detail = format!("{}: {error}", server.address());
                unavailable("cannot connect to a cluster master", detail)
            }
            _ => error,
        };
        let connection = connected.await.map_err(with_address)?;
        Node::new(server, connection)
    }

    /// Queries all known nodes concurrently and returns the first slot map.
    async fn slot_map(&self) -> RedisResult<SlotMap> {
        let mut addresses = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        addresses.extend(
            self.seeds.iter().filter(|seed| !addresses.contains(seed)).cloned().collect::<Vec<_>>(),
        );
        let mut queries: FuturesUnordered<_> =
            addresses.iter().map(|address| self.connected_slot_map(address)).collect();
        let mut last_error = None;
        while let Some(response) = queries.next().await {
            match response {
                Ok(map) => return Ok(map),
                Err(error) => last_error = Some(error),
            }
        }
        match last_error {
            Some(error) if error.kind() != redis::ErrorKind::Io => Err(error),
            last_error => {
                let cause = last_error.map(|error| error.to_string()).unwrap_or_default();
                let nodes = join(addresses.iter());
                Err(unavailable("no healthy cluster node", format!("{nodes}: {cause}")))
            }
        }
    }

    async fn connected_slot_map(&self, address: &ConnectionAddr) -> RedisResult<SlotMap> {
        let mut connection = self.servers.at(address.clone())?.connect().await?;
        slot_map_of(&mut connection, address).await
    }
}

/// Returns the slot map of a node that sees a healthy cluster.
async fn slot_map_of(
    connection: &mut MultiplexedConnection,
    address: &ConnectionAddr,
) -> RedisResult<SlotMap> {
    current_epoch(connection).await?;
    let response: Value = redis::cmd("CLUSTER").arg("SLOTS").query_async(connection).await?;
    let host = match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
        _ => "",
    };
    SlotMap::parse(response, host)
}

/// Returns the cluster epoch, which grows whenever a slot gets another owner.
///
/// # Errors
/// If the node does not respond, or does not see a healthy cluster.
pub(super) async fn current_epoch(connection: &mut MultiplexedConnection) -> RedisResult<u64> {
    let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(connection).await?;
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_end);
    if field("cluster_state:") != Some("ok") {
        return Err(unavailable("the cluster is down", "cluster_state is not ok".into()));
    }
    let epoch = field("cluster_current_epoch:").and_then(|epoch| epoch.parse().ok());
    epoch.ok_or_else(|| unavailable("CLUSTER INFO has no cluster_current_epoch", String::new()))
}
