//! Which node of a cluster has which keys.

use std::ops::RangeInclusive;

use redis::{Cmd, RedisResult, Value, from_redis_value};

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
