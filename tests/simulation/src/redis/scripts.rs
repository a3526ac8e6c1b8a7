//! The scripts of both services by their meaning. The property test in `tests/redis` compares
//! them with the Lua scripts on a real server.

use shared::keys::HISTORY_CHANGED;

use super::{
    database::{Database, Write},
    reply::Reply,
    store::{Id, Refusal, Store, Value},
};

/// `publish_once.lua` of the worker.
pub(super) fn publish_once(db: &mut impl Database, keys: &[String], args: &[Vec<u8>]) -> String {
    let number = |index: usize| String::from_utf8_lossy(&args[index]).parse().unwrap_or(0);
    let [claim_ms, stream_ms, max_length, position_ms] = [1, 2, 3, 4].map(number);
    let channel = String::from_utf8_lossy(&args[0]).into_owned();
    let loss = String::from_utf8_lossy(&args[5]);
    let publishes =
        loss.split_once(' ').is_none_or(|loss| has_survived(db, keys, loss, position_ms));
    let changes_history = !publishes;
    let mut script = PublishOnce {
        keys,
        channel,
        publishes,
        changes_history,
        claim_ms,
        stream_ms,
        max_length,
        position_ms,
    };
    let (mut lines, mut appended) = (Vec::new(), None);
    for (claim, text) in keys[3..].iter().zip(&args[6..]) {
        match script.publish(db, claim, text, &mut appended) {
            Ok(line) => lines.push(line),
            Err(refusal) => {
                lines.push(format!("-{refusal}"));
                break;
            }
        }
    }
    if let Some(id) = appended {
        let position = Value::Text(id.to_string().into_bytes());
        if set(db, &keys[2], position, Some(position_ms), false).is_err() {
            db.store().delete(&keys[2]);
            db.position_refused(&keys[0]);
        }
        if script.changes_history {
            db.publish(&script.channel, HISTORY_CHANGED).ok();
        }
    }
    lines.join("\n")
}

/// `page.lua` of the gateway.
pub(super) fn page(
    db: &mut impl Database,
    stream: &str,
    args: &[Vec<u8>],
) -> Result<Reply, Refusal> {
    let words: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
    let number = |index: usize| words[index].parse().unwrap_or(0_usize);
    let (count, max_bytes, max_text) = (number(2), number(3), number(4));
    let after: Id = words[1].parse().map_err(|()| "ERR Invalid stream ID".to_owned())?;
    let entries = db.store().range(stream, after)?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    let mut more = entries.len() >= count;
    for (id, text) in entries.into_iter().take(count) {
        let size = if id == after { 0 } else { text.len() };
        if bytes > 0 && bytes + size > max_bytes {
            more = true;
            break;
        }
        bytes += size;
        page.push(Reply::text(id.to_string()));
        if size > max_text {
            page.push(Reply::Int(i64::try_from(size).unwrap_or(i64::MAX)));
            more = true;
            break;
        }
        page.push(if id == after { Reply::Nil } else { Reply::Bulk(text) });
    }
    page.insert(0, Reply::Int(more.into()));
    Ok(Reply::Array(page))
}

/// Whether a user's history began before a time, as its start says, or else its oldest entry, or
/// else the newest position. If a loss was noticed at that time, a position before all entries does
/// not count.
fn has_survived(
    db: &mut impl Database,
    keys: &[String],
    (what, time): (&str, &str),
    position_ms: u64,
) -> bool {
    let time = time.parse().unwrap_or(0);
    let start = db.store().get(&keys[1]);
    let known = match &start {
        Ok(None) => match db.store().ids(&keys[0]).first() {
            Some(oldest) => Ok(Some(oldest.to_string().into_bytes())),
            None => db.store().get(&keys[2]),
        },
        start => start.clone(),
    };
    let known = known.ok().flatten().unwrap_or_default();
    let known = String::from_utf8_lossy(&known).into_owned();
    let positions = known.split(' ').filter_map(|word| word.split_once('-'));
    let mut positions =
        positions.filter_map(|(ms, seq)| Some((ms.parse().ok()?, seq.parse().ok()?)));
    let has_survived = positions.any(|(ms, seq): (u64, u64)| {
        let is_unknown = ms == 0 && seq != 0 && what == "noticed-at";
        let ms = if ms == 0 { seq >> 10 } else { ms };
        !is_unknown && ms < time
    });
    if has_survived && start == Ok(None) {
        set(db, &keys[1], Value::Text(b"- 0-0".to_vec()), Some(position_ms), false).ok();
    }
    has_survived
}

struct PublishOnce<'a> {
    keys: &'a [String],
    channel: String,
    publishes: bool,
    /// Whether gateways have to count the unread notifications again.
    changes_history: bool,
    claim_ms: u64,
    stream_ms: u64,
    max_length: u64,
    position_ms: u64,
}

impl PublishOnce<'_> {
    /// Publishes one notification; returns its line, or the refusal that ends the script.
    fn publish(
        &mut self,
        db: &mut impl Database,
        claim: &str,
        text: &[u8],
        appended: &mut Option<Id>,
    ) -> Result<String, Refusal> {
        let mut foreign = String::new();
        if !set(db, claim, Value::Text(Vec::new()), Some(self.claim_ms), true)? {
            if db.store().get(claim).is_ok() {
                db.store().expire(claim, self.claim_ms);
                return Ok("duplicate".into());
            }
            set(db, claim, Value::Text(Vec::new()), Some(self.claim_ms), false)?;
            foreign = " claim".into();
        }
        let sent = self.append(db, text, &mut foreign).and_then(|id| {
            let mut message = format!("{{\"id\":\"{id}\",").into_bytes();
            message.extend(&text[1..]);
            if !self.publishes {
                db.stored(&self.channel, &message);
            } else if let Err(refusal) = db.publish(&self.channel, &message) {
                db.store().delete_entry(&self.keys[0], id);
                return Err(refusal);
            }
            Ok(id)
        });
        match sent {
            Ok(id) => {
                *appended = Some(id);
                Ok(format!("{id}{foreign}"))
            }
            Err(refusal) => {
                db.store().delete(claim);
                Err(refusal)
            }
        }
    }

    fn append(
        &mut self,
        db: &mut impl Database,
        text: &[u8],
        foreign: &mut String,
    ) -> Result<Id, Refusal> {
        let (stream, max) = (&self.keys[0], usize::try_from(self.max_length).ok());
        db.allow(Write::AddsMemory)?;
        db.store().expire(stream, self.stream_ms);
        let latest = (db.store().now / 1000 + 60) * 1000;
        match db.store().append(stream, text, max, false) {
            Ok(Some(id)) if id.1 == 0 || id.0 <= latest => return Ok(id),
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => {
                db.store().delete(stream);
                foreign.push_str(" history");
            }
        }
        db.allow(Write::AddsMemory)?;
        let id = db.store().append(stream, text, None, true)?.expect("the stream is created");
        db.store().expire(stream, self.stream_ms);
        let before = match db.store().get(&self.keys[2]) {
            Err(_) => {
                foreign.push_str(" position");
                None
            }
            Ok(None) => {
                self.changes_history = true;
                self.publishes.then(|| b"-".to_vec())
            }
            Ok(before) => before,
        };
        if let Some(before) = before {
            let start = [&before[..], b" ", id.to_string().as_bytes()].concat();
            // The script ignores a refusal here.
            set(db, &self.keys[1], Value::Text(start), Some(self.position_ms), false).ok();
        }
        Ok(id)
    }
}

/// `note_since.lua` of the worker.
pub(super) fn note_since(db: &mut impl Database, key: &str, last: &str) -> String {
    let now = db.store().now;
    let begun = last.parse().unwrap_or(now).min(now);
    let is_earlier = |since: Option<Vec<u8>>| {
        let since = since.and_then(|since| String::from_utf8_lossy(&since).parse().ok());
        begun < since.unwrap_or(u64::MAX)
    };
    if db.store().hash_get(key, "since").is_ok_and(is_earlier) {
        // The script ignores a refusal here.
        let set = db.allow(Write::AddsMemory);
        set.and_then(|()| db.store().hash_set(key, "since", begun.to_string().as_bytes())).ok();
    }
    now.to_string()
}

/// `replace_watermarks.lua` of the worker.
pub(super) fn replace_watermarks(db: &mut impl Database, key: &str, args: &[Vec<u8>]) -> String {
    let mut lines = Vec::new();
    for watermark in args.chunks_exact(4) {
        let [field, expected, prefix, new] = watermark else { continue };
        let field = String::from_utf8_lossy(field);
        let present = db.store().hash_get(key, &field);
        if present.is_err() {
            db.allow(Write::Other).map(|()| db.store().delete(key)).ok();
        }
        let mut value = present.ok().flatten().unwrap_or_default();
        if value == *expected || value.starts_with(prefix) {
            let at = format!(" at {}", db.store().now);
            let new = [&new[..], at.as_bytes()].concat();
            let set = db.allow(Write::AddsMemory);
            value = match set.and_then(|()| db.store().hash_set(key, &field, &new)) {
                Ok(()) => new,
                Err(refusal) => format!("-{refusal}").into_bytes(),
            };
        }
        lines.push(String::from_utf8_lossy(&value).into_owned());
    }
    lines.join("\n")
}

/// `marks.lua` of the gateway.
pub(super) fn marks(store: &Store, keys: &[String]) -> Reply {
    let mark = |key: &String| Reply::Bulk(store.get(key).ok().flatten().unwrap_or_default());
    Reply::Array(keys.iter().map(mark).collect())
}

/// `newest_position.lua` of the gateway.
pub(super) fn newest_position(
    db: &mut impl Database,
    keys: &[String],
    args: &[Vec<u8>],
) -> Result<String, Refusal> {
    if let Some(last) = db.store().last(&keys[0])? {
        return Ok(last.to_string());
    }
    let lifetime = String::from_utf8_lossy(&args[1]).parse().ok();
    if let Ok(Some(position)) = db.store().get(&keys[1])
        && String::from_utf8_lossy(&position).parse::<Id>().is_ok()
    {
        set(db, &keys[1], Value::Text(position.clone()), lifetime, false).ok();
        return Ok(String::from_utf8_lossy(&position).into_owned());
    }
    let random: u64 = String::from_utf8_lossy(&args[0]).parse().unwrap_or(0);
    let start = format!("0-{}", (db.store().now << 10) + random);
    set(db, &keys[1], Value::Text(start.clone().into_bytes()), lifetime, false)?;
    db.publish(&String::from_utf8_lossy(&args[2]), HISTORY_CHANGED).ok();
    Ok(start)
}

fn set(
    db: &mut impl Database,
    key: &str,
    value: Value,
    lifetime: Option<u64>,
    only_new: bool,
) -> Result<bool, Refusal> {
    db.allow(Write::AddsMemory)?;
    Ok(db.store().set(key, value, lifetime, only_new))
}
