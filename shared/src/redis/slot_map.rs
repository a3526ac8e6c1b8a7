//! The slots that each master of a cluster owns. The hash of keys to slots is that of the `redis`
//! crate. The parser of its slot map is private to its cluster client, which retries internally.

use std::collections::HashMap;

use redis::{Cmd, RedisResult, Value, cluster_routing::Slot, from_redis_value};

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
    pub(super) fn parse(response: Value, host: &str) -> RedisResult<Self> {
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
        b"MEMORY" => arguments.nth(1),
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
        assert_eq!(map.master_of(redis::cmd("MEMORY").arg("USAGE").arg("foo")), Some(1));
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
