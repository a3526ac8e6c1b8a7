//! The keys of one server, and the commands on them that the services use.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The position of a stream entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64, pub u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl std::str::FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self(ms.parse().map_err(drop)?, seq.parse().map_err(drop)?))
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Vec<u8>),
    Stream(Stream),
    /// A sorted set: scores by member.
    Sorted(BTreeMap<String, u64>),
    Hash(BTreeMap<String, Vec<u8>>),
    /// A type that neither service writes.
    Set,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) entries: BTreeMap<Id, Vec<u8>>,
    last: Id,
}

/// The keys of a server. Cheap to clone: a failover goes back to a clone.
#[derive(Clone, Debug, Default)]
pub struct Store {
    keys: BTreeMap<String, Entry>,
    /// The server's clock, in milliseconds since 1970.
    pub now: u64,
    /// The least time of a new position.
    first_position: u64,
    /// How many entries a stream keeps beyond `MAXLEN ~`: Redis trims whole nodes only.
    pub trim_slack: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Arc<Value>,
    expires: Option<u64>,
}

/// The error of a command, with its code.
pub(crate) type Refusal = String;

pub(crate) const WRONG_TYPE: &str =
    "WRONGTYPE Operation against a key holding the wrong kind of value";

impl Store {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.keys.keys()
    }

    /// Deletes every key. No position of the same millisecond is assigned again: on a real server
    /// more time passes.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.first_position = self.now + 1;
    }

    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        let entry = self.keys.get(key)?;
        entry.expires.is_none_or(|at| at > self.now).then_some(&*entry.value)
    }

    /// Returns the type of a key, as the command `TYPE` names it, how many entries a stream has, and
    /// in how many milliseconds the key expires.
    #[must_use]
    pub fn describe(&self, key: &str) -> (&'static str, Option<usize>, Option<u64>) {
        let (name, length) = match self.value(key) {
            None => return ("none", None, None),
            Some(Value::Text(_)) => ("string", None),
            Some(Value::Stream(stream)) => ("stream", Some(stream.entries.len())),
            Some(Value::Sorted(_)) => ("zset", None),
            Some(Value::Hash(_)) => ("hash", None),
            Some(Value::Set) => ("set", None),
        };
        let expires = self.keys.get(key).and_then(|entry| entry.expires);
        (name, length, expires.map(|at| at - self.now))
    }

    fn value_mut(&mut self, key: &str) -> Option<&mut Value> {
        let now = self.now;
        let entry = self.keys.get_mut(key).filter(|entry| entry.expires.is_none_or(|at| at > now));
        entry.map(|entry| Arc::make_mut(&mut entry.value))
    }

    /// Sets a key of any type; with `only_new` only if it does not exist. Returns whether it was
    /// set.
    pub(crate) fn set(
        &mut self,
        key: &str,
        value: Value,
        lifetime: Option<u64>,
        only_new: bool,
    ) -> bool {
        if only_new && self.value(key).is_some() {
            return false;
        }
        let expires = lifetime.map(|lifetime| self.now.saturating_add(lifetime));
        self.keys.insert(key.to_owned(), Entry { value: Arc::new(value), expires });
        true
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(WRONG_TYPE.into()),
        }
    }

    pub(crate) fn delete(&mut self, key: &str) -> bool {
        let existed = self.value(key).is_some();
        self.keys.remove(key);
        existed
    }

    pub(crate) fn expire(&mut self, key: &str, lifetime: u64) {
        let expires = Some(self.now.saturating_add(lifetime));
        if self.value(key).is_some()
            && let Some(entry) = self.keys.get_mut(key)
        {
            entry.expires = expires;
        }
    }

    /// Returns a field of a hash.
    pub(crate) fn hash_get(&self, key: &str, field: &str) -> Result<Option<Vec<u8>>, Refusal> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Hash(fields)) => Ok(fields.get(field).cloned()),
            Some(_) => Err(WRONG_TYPE.into()),
        }
    }

    /// Returns whether it holds since when workers have published there.
    pub(crate) fn is_marked(&self) -> bool {
        self.hash_get("ws:watermark:0", "since").is_ok_and(|since| since.is_some())
    }

    /// Returns the fields of all hashes.
    pub(crate) fn hash_fields(&self) -> impl Iterator<Item = &str> {
        let hashes = self.keys.values().filter_map(|entry| match &*entry.value {
            Value::Hash(fields) => Some(fields),
            _ => None,
        });
        hashes.flat_map(BTreeMap::keys).map(String::as_str)
    }

    pub(crate) fn hash_set(&mut self, key: &str, field: &str, value: &[u8]) -> Result<(), Refusal> {
        if self.value(key).is_none() {
            self.set(key, Value::Hash(BTreeMap::new()), None, false);
        }
        let Some(Value::Hash(fields)) = self.value_mut(key) else { return Err(WRONG_TYPE.into()) };
        fields.insert(field.to_owned(), value.to_vec());
        Ok(())
    }

    /// Appends an entry. Without `create` returns `None` if there is no stream.
    pub(crate) fn append(
        &mut self,
        key: &str,
        text: &[u8],
        max_length: Option<usize>,
        create: bool,
    ) -> Result<Option<Id>, Refusal> {
        if self.value(key).is_none() {
            if !create {
                return Ok(None);
            }
            self.set(key, Value::Stream(Stream::default()), None, false);
        }
        let (now, slack) = (self.now.max(self.first_position), self.trim_slack);
        let Some(Value::Stream(stream)) = self.value_mut(key) else {
            return Err(WRONG_TYPE.into());
        };
        let last = stream.last;
        let id = if now > last.0 { Id(now, 0) } else { Id(last.0, last.1 + 1) };
        stream.last = id;
        stream.entries.insert(id, text.to_vec());
        if let Some(max) = max_length
            && stream.entries.len() > max + slack
        {
            while stream.entries.len() > max {
                stream.entries.pop_first();
            }
        }
        Ok(Some(id))
    }

    /// Adds an entry with an id, which must be greater than those before it.
    pub(crate) fn append_at(&mut self, key: &str, id: Id, text: &[u8]) -> Result<(), Refusal> {
        if self.value(key).is_none() {
            self.set(key, Value::Stream(Stream::default()), None, false);
        }
        let Some(Value::Stream(stream)) = self.value_mut(key) else {
            return Err(WRONG_TYPE.into());
        };
        if id <= stream.last {
            return Err("ERR The ID is equal or smaller than the target stream top item".into());
        }
        stream.last = id;
        stream.entries.insert(id, text.to_vec());
        Ok(())
    }

    /// Adds a member to a sorted set, or changes its score. Returns whether it is new.
    pub(crate) fn add_sorted(
        &mut self,
        key: &str,
        member: &str,
        score: u64,
    ) -> Result<bool, Refusal> {
        if self.value(key).is_none() {
            self.set(key, Value::Sorted(BTreeMap::new()), None, false);
        }
        match self.value_mut(key) {
            Some(Value::Sorted(scores)) => Ok(scores.insert(member.to_owned(), score).is_none()),
            _ => Err(WRONG_TYPE.into()),
        }
    }

    /// Returns the members of a sorted set with a greater score, those with the greatest first.
    pub(crate) fn sorted_above(&self, key: &str, score: u64) -> Result<Vec<String>, Refusal> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::Sorted(scores)) => {
                let above = scores.iter().filter(|(_, known)| **known > score);
                let mut above: Vec<(u64, &String)> = above.map(|(text, at)| (*at, text)).collect();
                above.sort_unstable();
                Ok(above.into_iter().rev().map(|(_, text)| text.clone()).collect())
            }
            Some(_) => Err(WRONG_TYPE.into()),
        }
    }

    pub(crate) fn delete_entry(&mut self, key: &str, id: Id) {
        if let Some(Value::Stream(stream)) = self.value_mut(key) {
            stream.entries.remove(&id);
        }
    }

    /// Deletes the oldest entries beyond `length`. Returns how many.
    pub(crate) fn trim(&mut self, key: &str, length: usize) -> Result<i64, Refusal> {
        let entries = match self.value_mut(key) {
            None => return Ok(0),
            Some(Value::Stream(stream)) => &mut stream.entries,
            Some(_) => return Err(WRONG_TYPE.into()),
        };
        let before = entries.len();
        while entries.len() > length {
            entries.pop_first();
        }
        Ok(i64::try_from(before - entries.len()).unwrap_or(i64::MAX))
    }

    /// Returns the entries from a position on.
    pub(crate) fn range(&self, key: &str, from: Id) -> Result<Vec<(Id, Vec<u8>)>, Refusal> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::Stream(stream)) => {
                Ok(stream.entries.range(from..).map(|(id, text)| (*id, text.clone())).collect())
            }
            Some(_) => Err(WRONG_TYPE.into()),
        }
    }

    /// Returns the ids of the entries; none if there is no stream.
    pub(crate) fn ids(&self, key: &str) -> Vec<Id> {
        match self.value(key) {
            Some(Value::Stream(stream)) => stream.entries.keys().copied().collect(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn last(&self, key: &str) -> Result<Option<Id>, Refusal> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(stream.entries.last_key_value().map(|(id, _)| *id)),
            Some(_) => Err(WRONG_TYPE.into()),
        }
    }
}
