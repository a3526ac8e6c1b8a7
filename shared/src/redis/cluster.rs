//! Redis Cluster: finding the masters and what each of them has.

use std::sync::{Mutex, PoisonError};

use futures_util::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use redis::{
    ConnectionAddr, ConnectionInfo, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};

use super::{
    address::list,
    server::{Limits, Part, Server, Servers, check, unusable},
    slots::SlotMap,
};

/// A cluster, of which some nodes are known.
#[derive(Debug)]
pub(super) struct Cluster {
    servers: Servers,
    seeds: Vec<ConnectionAddr>,
    /// The nodes that were there last: all seeds may be gone by now.
    known: Mutex<Vec<ConnectionAddr>>,
}

/// A master, connected.
pub(super) type Node = (Server, MultiplexedConnection);

impl Cluster {
    pub(super) fn new(seeds: Vec<ConnectionInfo>, limits: Limits) -> RedisResult<Self> {
        let addresses = seeds.iter().map(|seed| seed.addr().clone()).collect();
        let first = seeds.into_iter().next();
        let first =
            first.ok_or_else(|| unusable("no node of the cluster is named", String::new()))?;
        let servers = Servers::new(first, limits)?;
        Ok(Self { servers, seeds: addresses, known: Mutex::default() })
    }

    /// All masters, connected, and what each has. The first node that is sure of the others is
    /// believed.
    ///
    /// # Errors
    /// When no node can say, or one of the masters is away: what it has is not to be had.
    pub(super) async fn connect(&self) -> RedisResult<(SlotMap, Vec<Node>)> {
        let map = self.map().await?;
        let masters = map.masters.iter().map(|place| self.connect_to(place));
        let nodes = try_join_all(masters).await?;
        let all = map.masters.iter().chain(&map.replicas);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            all.map(|(host, port)| self.servers.address(host.clone(), *port)).collect();
        Ok((map, nodes))
    }

    async fn connect_to(&self, (host, port): &(String, u16)) -> RedisResult<Node> {
        let server = self.servers.at(self.servers.address(host.clone(), *port))?;
        let connected = async {
            let mut connection = server.connect().await?;
            check(&mut connection, Part::Master).await?;
            RedisResult::Ok(connection)
        };
        let problem = |error: RedisError| match error.kind() {
            redis::ErrorKind::Io => {
                let detail = format!("{}: {error}", server.address());
                unusable("a master of the cluster cannot be used", detail)
            }
            _ => error,
        };
        let connection = connected.await.map_err(problem)?;
        Ok((server, connection))
    }

    /// Asks all nodes at once; the first good answer counts.
    async fn map(&self) -> RedisResult<SlotMap> {
        let mut addresses = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        addresses.extend(
            self.seeds.iter().filter(|seed| !addresses.contains(seed)).cloned().collect::<Vec<_>>(),
        );
        let mut answers: FuturesUnordered<_> =
            addresses.iter().map(|address| self.map_of(address)).collect();
        let mut problem = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(map) => return Ok(map),
                Err(error) => problem = Some(error),
            }
        }
        match problem {
            Some(error) if error.kind() != redis::ErrorKind::Io => Err(error),
            problem => {
                let why = problem.map(|error| error.to_string()).unwrap_or_default();
                let nodes = list(addresses.iter());
                Err(unusable("no node of the cluster can be used", format!("{nodes}: {why}")))
            }
        }
    }

    async fn map_of(&self, address: &ConnectionAddr) -> RedisResult<SlotMap> {
        let mut connection = self.servers.at(address.clone())?.connect().await?;
        epoch(&mut connection).await?;
        let answer: Value = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await?;
        let host = match address {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "",
        };
        SlotMap::read(answer, host)
    }
}

/// How often, as a node knows, slots have changed hands; a sign of life besides.
///
/// # Errors
/// When it does not see its cluster work.
pub(super) async fn epoch(connection: &mut MultiplexedConnection) -> RedisResult<u64> {
    let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(connection).await?;
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_end);
    if field("cluster_state:") != Some("ok") {
        return Err(unusable("the cluster is down", "cluster_state is not ok".into()));
    }
    let epoch = field("cluster_current_epoch:").and_then(|epoch| epoch.parse().ok());
    epoch.ok_or_else(|| unusable("the cluster does not tell its epoch", String::new()))
}
