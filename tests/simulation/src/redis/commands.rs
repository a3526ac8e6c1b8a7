//! The commands that the services send, on one database.

use super::{
    database::{Database, Write},
    read_state,
    reply::Reply,
    scripts,
    store::{Id, Refusal, Value, WRONG_TYPE},
};

/// The hash of the publish script.
const PUBLISH_ONCE: &str = "publish-once";
/// The hash of the script that replaces watermarks.
pub const REPLACE_WATERMARKS: &str = "replace-watermarks";
/// The hash of the script that notes since when a server has its data.
pub const NOTE_SINCE: &str = "note-since";

/// Runs a command that is not about its connection.
pub fn run(db: &mut impl Database, command: &[Vec<u8>]) -> Reply {
    let name = text(&command[0]).to_ascii_uppercase();
    let result = match name.as_str() {
        "SET" => set(db, command),
        "GET" => db.store().get(&text(&command[1])).map(bulk),
        "XRANGE" => range(db, command),
        "MEMORY" => Ok(memory_usage(db, command)),
        "PUBLISH" => db.publish(&text(&command[1]), &command[2]).map(Reply::Int),
        "TIME" => {
            let now = db.store().now;
            let (seconds, micros) = (now / 1000, now % 1000 * 1000);
            Ok(Reply::Array([seconds, micros].map(|part| Reply::text(part.to_string())).into()))
        }
        "SCRIPT" => {
            db.load_scripts();
            let source = text(&command[2]);
            let hashes = [("XADD", PUBLISH_ONCE), ("'since'", NOTE_SINCE)];
            let hash = hashes.iter().find(|(part, _)| source.contains(part));
            Ok(Reply::text(hash.map_or(REPLACE_WATERMARKS, |(_, hash)| hash)))
        }
        "EVALSHA" => run_script(db, command),
        "HMGET" => hash_fields(db, command),
        "EVAL" => run_text(db, command),
        // What other software may do to the keys.
        "DEL" => Ok(Reply::Int(db.store().delete(&text(&command[1])).into())),
        "SADD" => add_to_set(db, &text(&command[1])),
        "XADD" => append_at(db, command),
        "XTRIM" => trim(db, command),
        "FLUSHALL" => {
            db.store().clear();
            Ok(Reply::Ok)
        }
        "ZADD" => add_sorted(db, command),
        "ZREVRANGEBYSCORE" => {
            let score = text(&command[3]).trim_start_matches('(').parse().unwrap_or(0);
            let members = db.store().sorted_above(&text(&command[1]), score);
            members.map(|all| Reply::Array(all.into_iter().map(Reply::text).collect()))
        }
        "WAIT" => Ok(Reply::Int(1)),
        _ => Err(format!("ERR unknown command '{name}'")),
    };
    result.unwrap_or_else(Reply::Error)
}

fn set(db: &mut impl Database, command: &[Vec<u8>]) -> Result<Reply, Refusal> {
    db.allow(Write::AddsMemory)?;
    let lifetime = command.get(4).map(|ms| text(ms).parse().unwrap_or(0));
    db.store().set(&text(&command[1]), Value::Text(command[2].clone()), lifetime, false);
    Ok(Reply::Ok)
}

fn run_script(db: &mut impl Database, command: &[Vec<u8>]) -> Result<Reply, Refusal> {
    if !db.has_scripts() {
        return Err("NOSCRIPT No matching script".into());
    }
    let (keys, args) = keys_and_args(command);
    Ok(Reply::text(match text(&command[1]).as_str() {
        REPLACE_WATERMARKS => scripts::replace_watermarks(db, &keys[0], &args),
        NOTE_SINCE => scripts::note_since(db, &keys[0], &text(&args[0])),
        _ => scripts::publish_once(db, &keys, &args),
    }))
}

fn run_text(db: &mut impl Database, command: &[Vec<u8>]) -> Result<Reply, Refusal> {
    let (keys, args) = keys_and_args(command);
    if is_page(command) {
        return scripts::page(db, &keys[0], &args);
    }
    if args.is_empty() {
        return Ok(scripts::marks(db.store(), &keys));
    }
    let is_read_state = text(&command[1]).contains("read_state");
    let script = if is_read_state { read_state::run } else { scripts::newest_position };
    script(db, &keys, &args).map(Reply::text)
}

/// Whether a command runs the script that reads a page of a history.
pub(super) fn is_page(command: &[Vec<u8>]) -> bool {
    command[0].eq_ignore_ascii_case(b"EVAL") && text(&command[1]).contains("max_text")
}

/// Whether a reply has as many entries of a history as were requested.
pub(super) fn is_full_page(command: &[Vec<u8>], reply: &Reply) -> bool {
    let Reply::Array(reply) = reply else { return false };
    let (entries, count) = if is_page(command) {
        (reply.len() / 2, &command[6])
    } else if let Some(count) = command.get(5) {
        (reply.len(), count)
    } else {
        return false;
    };
    text(count) == entries.to_string()
}

/// Histories of a few entries are small, others as large as if each entry were: gateways read both
/// in their own way.
fn memory_usage(db: &mut impl Database, command: &[Vec<u8>]) -> Reply {
    let key = text(&command[2]);
    if db.store().value(&key).is_none() {
        return Reply::Nil;
    }
    let entries = db.store().range(&key, Id::default()).map_or(0, |entries| entries.len());
    Reply::Int(i64::try_from(entries << 17).unwrap_or(i64::MAX))
}

fn trim(db: &mut impl Database, command: &[Vec<u8>]) -> Result<Reply, Refusal> {
    let length = text(&command[3]).parse().unwrap_or(0);
    db.store().trim(&text(&command[1]), length).map(Reply::Int)
}

fn hash_fields(db: &mut impl Database, command: &[Vec<u8>]) -> Result<Reply, Refusal> {
    let key = text(&command[1]);
    let fields = command[2..].iter();
    let values = fields.map(|field| db.store().hash_get(&key, &text(field)).map(bulk));
    values.collect::<Result<_, _>>().map(Reply::Array)
}

fn add_to_set(db: &mut impl Database, key: &str) -> Result<Reply, Refusal> {
    db.allow(Write::AddsMemory)?;
    match db.store().value(key) {
        None | Some(Value::Set) => {
            db.store().set(key, Value::Set, None, false);
            Ok(Reply::Int(1))
        }
        Some(_) => Err(WRONG_TYPE.into()),
    }
}

fn add_sorted(db: &mut impl Database, command: &[Vec<u8>]) -> Result<Reply, Refusal> {
    db.allow(Write::AddsMemory)?;
    let (key, member, score) = (text(&command[1]), text(&command[3]), text(&command[2]));
    let added = db.store().add_sorted(&key, &member, score.parse().unwrap_or(0))?;
    Ok(Reply::Int(added.into()))
}

fn append_at(db: &mut impl Database, command: &[Vec<u8>]) -> Result<Reply, Refusal> {
    db.allow(Write::AddsMemory)?;
    let id: Id = text(&command[2]).parse().map_err(|()| "ERR Invalid stream ID".to_owned())?;
    db.store().append_at(&text(&command[1]), id, &command[4])?;
    Ok(Reply::text(id.to_string()))
}

fn range(db: &mut impl Database, command: &[Vec<u8>]) -> Result<Reply, Refusal> {
    let from: Id = text(&command[2]).parse().map_err(|()| "ERR Invalid stream ID".to_owned())?;
    let count = command.get(5).map_or(usize::MAX, |count| text(count).parse().unwrap_or(0));
    let entries = db.store().range(&text(&command[1]), from)?;
    let entry = |(id, text): (Id, Vec<u8>)| {
        Reply::Array(vec![
            Reply::text(id.to_string()),
            Reply::Array(vec![Reply::text("n"), Reply::Bulk(text)]),
        ])
    };
    Ok(Reply::Array(entries.into_iter().take(count).map(entry).collect()))
}

fn keys_and_args(command: &[Vec<u8>]) -> (Vec<String>, Vec<Vec<u8>>) {
    let count: usize = text(&command[2]).parse().unwrap_or(0);
    let keys = command[3..3 + count].iter().map(|key| text(key)).collect();
    (keys, command[3 + count..].to_vec())
}

fn bulk(value: Option<Vec<u8>>) -> Reply {
    value.map_or(Reply::Nil, Reply::Bulk)
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
