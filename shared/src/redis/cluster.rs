//! Redis Cluster: finding the masters and what each of them has.

use std::{
    ops::RangeInclusive,
    sync::{Mutex, PoisonError},
};

use futures_util::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection, from_redis_value,
};

use super::{
    server::{Limits, RequiredRole, Server, Servers, check, unavailable},
    url::list,
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
            first.ok_or_else(|| unavailable("no node of the cluster is named", String::new()))?;
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
            check(&mut connection, RequiredRole::Master).await?;
            RedisResult::Ok(connection)
        };
        let problem = |error: RedisError| match error.kind() {
            redis::ErrorKind::Io => {
                let detail = format!("{}: {error}", server.address());
                unavailable("a master of the cluster cannot be used", detail)
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
                Err(unavailable("no node of the cluster can be used", format!("{nodes}: {why}")))
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
        return Err(unavailable("the cluster is down", "cluster_state is not ok".into()));
    }
    let epoch = field("cluster_current_epoch:").and_then(|epoch| epoch.parse().ok());
    epoch.ok_or_else(|| unavailable("the cluster does not tell its epoch", String::new()))
}

/// How many slots the keys of a cluster are spread over.
const SLOTS: u16 = 16_384;

/// The masters of a cluster and their slots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// Host and port of each master.
    pub(super) masters: Vec<(String, u16)>,
    /// Host and port of every other node.
    pub(super) replicas: Vec<(String, u16)>,
    ranges: Vec<(RangeInclusive<u16>, usize)>,
}

impl SlotMap {
    /// Reads the answer to `CLUSTER SLOTS` of the node at `host`.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn read(answer: Value, host: &str) -> RedisResult<Self> {
        let mut map = Self::default();
        for range in from_redis_value::<Vec<Vec<Value>>>(answer)? {
            let mut fields = range.into_iter();
            let (Some(first), Some(last)) = (fields.next(), fields.next()) else { continue };
            let slots = from_redis_value(first)?..=from_redis_value(last)?;
            let nodes = fields.map(|node| place(node, host)).collect::<RedisResult<Vec<_>>>()?;
            let mut nodes = nodes.into_iter().flatten();
            let Some(master) = nodes.next() else { continue };
            let known = map.masters.iter().position(|place| *place == master);
            let index = known.unwrap_or(map.masters.len());
            if known.is_none() {
                map.masters.push(master);
            }
            map.replicas.extend(nodes);
            map.ranges.push((slots, index));
        }
        Ok(map)
    }

    /// The number of the master that has the key of a command, if any has.
    pub(super) fn master_of(&self, command: &Cmd) -> Option<usize> {
        self.master_of_key(key_of(command)?)
    }

    /// The number of the master that has a key, if any has.
    pub(super) fn master_of_key(&self, key: &[u8]) -> Option<usize> {
        let slot = slot(key);
        let range = self.ranges.iter().find(|(slots, _)| slots.contains(&slot));
        range.map(|(_, master)| *master)
    }
}

/// Host and port of a node; none if the answering node does not know it.
fn place(node: Value, asked: &str) -> RedisResult<Option<(String, u16)>> {
    let mut fields = from_redis_value::<Vec<Value>>(node)?.into_iter();
    let (Some(host), Some(port)) = (fields.next(), fields.next()) else { return Ok(None) };
    let host: Option<String> = from_redis_value(host)?;
    Ok(match host.as_deref() {
        Some("?") => None,
        // The node that was asked does not know its own name, but we do.
        None | Some("") => Some((asked.to_owned(), from_redis_value(port)?)),
        Some(host) => Some((host.to_owned(), from_redis_value(port)?)),
    })
}

/// The first key of a command of ours.
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

/// The slot of a key: of the part in the first braces, if there is something in them.
fn slot(key: &[u8]) -> u16 {
    let tag = || {
        let rest = &key[key.iter().position(|&byte| byte == b'{')? + 1..];
        let tag = &rest[..rest.iter().position(|&byte| byte == b'}')?];
        (!tag.is_empty()).then_some(tag)
    };
    crc16(tag().unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, which Redis Cluster uses.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
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
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"ws:stream:{foo}"), 12_182);
        assert_eq!(slot(b"ws:seen:{foo}:{bar}"), 12_182);
        assert_ne!(slot(b"ws:stream:{}foo}"), slot(b"ws:seen:{}foo}:1"));
    }

    #[test]
    fn a_command_goes_to_the_master_of_its_key() {
        let half = |first, last, nodes: &[Value]| {
            let slots = [Value::Int(first), Value::Int(last)];
            Value::Array([&slots[..], nodes].concat())
        };
        let answer = Value::Array(vec![
            half(0, 8_191, &[node(bulk("10.0.0.1"), 1), node(bulk("10.0.0.3"), 3)]),
            half(8_192, 16_000, &[node(Value::Nil, 2), node(bulk("?"), 4)]),
            half(16_001, 16_300, &[node(bulk("10.0.0.1"), 1)]),
        ]);
        let map = SlotMap::read(answer, "asked").unwrap();
        assert_eq!(map.masters, [("10.0.0.1".into(), 1), ("asked".into(), 2)]);
        assert_eq!(map.replicas, [("10.0.0.3".into(), 3)]);
        assert_eq!(map.master_of(redis::cmd("GET").arg("foo")), Some(1));
        let mut script = redis::cmd("EVALSHA");
        assert_eq!(map.master_of(script.arg("sha").arg(2).arg("{foo}").arg("{foo}")), Some(1));
        assert_eq!(map.master_of(&redis::cmd("PING")), None);
    }
}
