//! Redis Cluster: discovery of the masters and of the slots that each of them owns.
//!
//! The hash of keys to slots is that of the `redis` crate. The parser of its slot map is private to
//! its cluster client, which retries internally.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use futures_util::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection, cluster_routing::Slot, from_redis_value,
};

use super::{
    dial::Network,
    server::{Limits, RequiredRole, Server, Servers, check, unavailable},
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

/// A master and a connection to it.
pub(super) type Node = (Server, MultiplexedConnection);

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

    /// Connects to all masters and returns them with the slot map of the first healthy node.
    ///
    /// # Errors
    /// If no node returns a slot map, or a master is unreachable.
    pub(super) async fn connect(&self) -> RedisResult<(SlotMap, Vec<Node>)> {
        let map = self.slot_map().await?;
        let masters = map.masters.iter().map(|address| self.connect_to(address));
        let nodes = try_join_all(masters).await?;
        let all = map.masters.iter().chain(&map.replicas);
        *self.last_seen.lock().unwrap_or_else(PoisonError::into_inner) =
            all.map(|(host, port)| self.servers.address(host.clone(), *port)).collect();
        Ok((map, nodes))
    }

    async fn connect_to(&self, (host, port): &(String, u16)) -> RedisResult<Node> {
        let server = self.servers.at(self.servers.address(host.clone(), *port))?;
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
        Ok((server, connection))
    }

    /// Queries all known nodes concurrently and returns the first slot map.
    async fn slot_map(&self) -> RedisResult<SlotMap> {
        let mut addresses = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        addresses.extend(
            self.seeds.iter().filter(|seed| !addresses.contains(seed)).cloned().collect::<Vec<_>>(),
        );
        let mut queries: FuturesUnordered<_> =
            addresses.iter().map(|address| self.slot_map_of(address)).collect();
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

    async fn slot_map_of(&self, address: &ConnectionAddr) -> RedisResult<SlotMap> {
        let mut connection = self.servers.at(address.clone())?.connect().await?;
        current_epoch(&mut connection).await?;
        let response: Value =
            redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await?;
        let host = match address {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "",
        };
        SlotMap::parse(response, host)
    }
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

/// The masters of a cluster and the slots they own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// Host and port of each master.
    pub(super) masters: Vec<(String, u16)>,
    /// Host and port of every other node.
    pub(super) replicas: Vec<(String, u16)>,
    /// The index in `masters` of the owner of each slot.
    owners: HashMap<Slot, usize>,
}

impl SlotMap {
    /// Parses the response to `CLUSTER SLOTS` of the node at `host`.
    ///
    /// # Errors
    /// If the response has another shape.
    fn parse(response: Value, host: &str) -> RedisResult<Self> {
        let mut map = Self::default();
        for range in from_redis_value::<Vec<Vec<Value>>>(response)? {
            let mut fields = range.into_iter();
            let (Some(first), Some(last)) = (fields.next(), fields.next()) else { continue };
            let slots = from_redis_value::<u16>(first)?..=from_redis_value(last)?;
            let nodes =
                fields.map(|node| node_address(node, host)).collect::<RedisResult<Vec<_>>>()?;
            let mut nodes = nodes.into_iter().flatten();
            let Some(master) = nodes.next() else { continue };
            let known = map.masters.iter().position(|address| *address == master);
            let index = known.unwrap_or(map.masters.len());
            if known.is_none() {
                map.masters.push(master);
            }
            map.replicas.extend(nodes);
            map.owners.extend(slots.filter_map(Slot::new).map(|slot| (slot, index)));
        }
        Ok(map)
    }

    /// Returns a key for each master, in their order: `prefix` and a number.
    pub(super) fn key_for_each_master(&self, prefix: &str) -> Vec<String> {
        let mut keys = vec![None; self.masters.len()];
        let mut numbers = 0_u32..;
        while keys.contains(&None)
            && let Some(number) = numbers.next()
        {
            let key = format!("{prefix}{number}");
            if let Some(master) = self.master_of_key(key.as_bytes()) {
                keys[master].get_or_insert(key);
            }
        }
        keys.into_iter().flatten().collect()
    }

    /// Returns the index of the master that owns the key of a command.
    pub(super) fn master_of(&self, command: &Cmd) -> Option<usize> {
        self.master_of_key(key_of(command)?)
    }

    /// Returns the index of the master that owns a key.
    pub(super) fn master_of_key(&self, key: &[u8]) -> Option<usize> {
        self.owners.get(&Slot::for_key(key)).copied()
    }
}

/// Returns host and port of a node; `None` if the responding node does not know the address.
fn node_address(node: Value, responder: &str) -> RedisResult<Option<(String, u16)>> {
    let mut fields = from_redis_value::<Vec<Value>>(node)?.into_iter();
    let (Some(host), Some(port)) = (fields.next(), fields.next()) else { return Ok(None) };
    let host: Option<String> = from_redis_value(host)?;
    Ok(match host.as_deref() {
        Some("?") => None,
        // A node may not know its own host name: use the one that it was reached at.
        None | Some("") => Some((responder.to_owned(), from_redis_value(port)?)),
        Some(host) => Some((host.to_owned(), from_redis_value(port)?)),
    })
}

/// Returns the first key of a command; covers the commands that both services send.
fn key_of(command: &Cmd) -> Option<&[u8]> {
    let mut arguments = command.args_iter().map(|argument| match argument {
        redis::Arg::Simple(bytes) => bytes,
        _ => b"",
    });
    match arguments.next()? {
        b"EVAL" | b"EVALSHA" => arguments.nth(2),
        _ => arguments.next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), bulk("id")])
    }

    #[test]
    fn a_command_is_routed_to_the_master_of_its_key() {
        let half = |first, last, nodes: &[Value]| {
            let slots = [Value::Int(first), Value::Int(last)];
            Value::Array([&slots[..], nodes].concat())
        };
        let response = Value::Array(vec![
            half(0, 8_191, &[node(bulk("10.0.0.1"), 1), node(bulk("10.0.0.3"), 3)]),
            half(8_192, 16_000, &[node(Value::Nil, 2), node(bulk("?"), 4)]),
            half(16_001, 16_300, &[node(bulk("10.0.0.1"), 1)]),
        ]);
        let map = SlotMap::parse(response, "responder").unwrap();
        assert_eq!(map.masters, [("10.0.0.1".into(), 1), ("responder".into(), 2)]);
        assert_eq!(map.replicas, [("10.0.0.3".into(), 3)]);
        assert_eq!(map.master_of(redis::cmd("GET").arg("foo")), Some(1));
        let mut script = redis::cmd("EVALSHA");
        assert_eq!(map.master_of(script.arg("sha").arg(2).arg("{foo}").arg("{foo}")), Some(1));
        assert_eq!(map.master_of(&redis::cmd("PING")), None);
        for (key, master) in [("foo", 1), ("bar", 0), ("ws:stream:{foo}", 1), ("{bar}:{foo}", 0)] {
            assert_eq!(map.master_of_key(key.as_bytes()), Some(master), "{key}");
        }
        assert_eq!(map.owners.get(&Slot::new(16_383).unwrap()), None);
        let keys = map.key_for_each_master("ws/probe");
        let masters: Vec<_> = keys.iter().map(|key| map.master_of_key(key.as_bytes())).collect();
        assert_eq!(masters, [Some(0), Some(1)], "{keys:?}");
    }

    #[test]
    fn keys_of_a_user_share_a_slot_unless_the_hash_tag_is_empty() {
        assert_eq!(Slot::for_key("ws:stream:{foo}"), Slot::for_key("ws:seen:{foo}:{bar}"));
        assert_ne!(Slot::for_key("ws:stream:{}foo}"), Slot::for_key("ws:seen:{}foo}:1"));
    }
}
