//! `read_state.lua` of the gateway by its meaning: it counts the unread notifications anew each
//! time. The property test in `tests/redis` compares it with the Lua script on a real server.

use shared::keys::FOR_GATEWAYS;

use super::{
    database::{Database, ReadState, Write},
    store::{Id, Refusal, Store, Value},
};

/// Runs the script.
pub(super) fn run(
    db: &mut impl Database,
    keys: &[String],
    args: &[Vec<u8>],
) -> Result<String, Refusal> {
    let [channel, up_to, lifetime] = [0, 1, 2].map(|index| String::from_utf8_lossy(&args[index]));
    let requested = (!up_to.is_empty()).then_some(&*up_to);
    let (stored, state) = (cursor(db.store(), &keys[3]), read(db.store(), keys, requested));
    if state.up_to != Id::default() {
        let value = format!("{} {} {}", state.up_to, state.unread, state.newest).into_bytes();
        let allowed = db.allow(Write::AddsMemory);
        let lifetime = lifetime.parse().ok();
        match allowed {
            Ok(()) => {
                db.store().set(&keys[3], Value::Text(value), lifetime, false);
            }
            Err(refusal) if state.up_to != stored => return Err(refusal),
            Err(_) => {}
        }
    }
    db.counted(&keys[0], &state);
    if !channel.is_empty() {
        let frame = format!(r#"{{"event":"read_state","data":{state}}}"#);
        db.publish(&channel, &[&[FOR_GATEWAYS], frame.as_bytes()].concat())?;
    }
    Ok(state.to_string())
}

/// Returns the read state after the cursor is moved to `requested`.
pub(super) fn read(store: &Store, keys: &[String], requested: Option<&str>) -> ReadState {
    let latest = (store.now / 1000 + 60) * 1000;
    let is_believed = |id: &Id| id.0 <= latest;
    let parse = |text: &str| text.parse().ok().filter(|_| text.contains('-')).filter(is_believed);
    let mut ids = store.ids(&keys[0]);
    let first = ids.first().copied();
    ids.retain(is_believed);
    let last = ids.last().copied();
    let newest = last.unwrap_or_else(|| parse(&text(store, &keys[2])).unwrap_or_default());
    let requested = requested.map_or(Id::default(), |text| parse(text).unwrap_or(newest));
    let up_to = requested.min(newest).max(cursor(store, &keys[3]));
    let unread = ids.iter().filter(|id| **id > up_to).count();
    let exact = match (first, last) {
        (Some(first), Some(last)) if up_to < last => {
            let start = text(store, &keys[1]);
            let (before, begin) = start.split_once(' ').unwrap_or_default();
            let before = parse(before).unwrap_or_default();
            let is_first = before.0 == 0 && up_to.0 == 0;
            let is_whole = begin == first.to_string() && (is_first || up_to == before);
            is_whole || up_to >= first
        }
        (_, Some(_)) => up_to == newest,
        (_, None) => up_to == newest || (newest.0 == 0 && up_to.0 == 0),
    };
    ReadState { up_to, unread, exact, newest }
}

/// Returns the stored cursor.
fn cursor(store: &Store, key: &str) -> Id {
    let value = text(store, key);
    let Some((cursor, _)) = value.split_once(' ').filter(|_| value.split(' ').count() == 3) else {
        return Id::default();
    };
    let cursor: Id = cursor.parse().unwrap_or_default();
    if cursor.0 <= (store.now / 1000 + 60) * 1000 { cursor } else { Id::default() }
}

fn text(store: &Store, key: &str) -> String {
    let value = store.get(key).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&value).into_owned()
}
