//! The watermarks on Redis: a hash on each master, whose fields say how far each partition is
//! published. A replica that has a value has all writes before it, as replication keeps their
//! order.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::{Cmd, RedisResult, Value, cmd, from_redis_value};

use super::error;
use crate::notification::publisher::{StoredWatermark, Watermark};

/// The scripts and the keys that one connection uses.
#[derive(Clone, Debug)]
pub(super) struct WatermarkKeys {
    /// SHA-1 under which every server has [`REPLACE_WATERMARKS`].
    pub(super) replace: Arc<str>,
    /// SHA-1 under which every server has [`NOTE_SINCE`].
    pub(super) note_since: Arc<str>,
    /// A key on each master.
    pub(super) keys: Arc<[Arc<str>]>,
}

pub(super) const REPLACE_WATERMARKS: &str = include_str!("replace_watermarks.lua");
pub(super) const NOTE_SINCE: &str = include_str!("note_since.lua");

/// When the last round trip that succeeded began, in milliseconds, by the key of each server.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundTripTimes(Arc<Mutex<HashMap<Arc<str>, String>>>);

impl RoundTripTimes {
    fn of(&self, key: &str) -> String {
        self.state().get(key).cloned().unwrap_or_default()
    }

    /// Takes the replies to the commands of [`WatermarkKeys::note_since`], once everything in the
    /// round trip has succeeded.
    pub(super) fn record(&self, keys: &WatermarkKeys, replies: Vec<RedisResult<Value>>) {
        let mut state = self.state();
        for (key, reply) in keys.keys.iter().zip(replies) {
            let time = reply.and_then(|reply| Ok(from_redis_value::<String>(reply)?));
            if let Some(time) = time.ok().filter(|time| !time.is_empty()) {
                state.insert(Arc::clone(key), time);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, HashMap<Arc<str>, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatermarkKeys {
    /// Returns the commands that replace watermarks, one for each master. `attempt` makes the
    /// values unique.
    pub(super) fn commands(&self, watermarks: &[Watermark], attempt: u64) -> Vec<Cmd> {
        // After masters have changed, it is not known what the keys of the others hold.
        if watermarks.is_empty() || !self.are_those_of(&watermarks[0].stored) {
            return Vec::new();
        }
        let command = |key: &Arc<str>| {
            let mut command = cmd("EVALSHA");
            command.arg(&*self.replace).arg(1).arg(&**key);
            for Watermark { source, stored, token, position } in watermarks {
                let expected = stored.get(key).and_then(Option::as_deref).unwrap_or_default();
                let prefix = format!("{token}.");
                let value = format!("{prefix}{attempt} {position}");
                command.arg(&**source).arg(expected).arg(prefix).arg(value);
            }
            command
        };
        self.keys.iter().map(command).collect()
    }

    /// Returns the commands that note since when each master has its data, before anything is
    /// published there.
    pub(super) fn note_since(&self, last: &RoundTripTimes) -> impl Iterator<Item = Cmd> {
        self.keys.iter().map(|key| {
            let mut command = cmd("EVALSHA");
            command.arg(&*self.note_since).arg(1).arg(&**key).arg(last.of(key));
            command
        })
    }

    fn are_those_of(&self, stored: &StoredWatermark) -> bool {
        stored.len() == self.keys.len() && self.keys.iter().all(|key| stored.contains_key(key))
    }

    /// Returns what the servers hold after the commands for `watermarks` have returned `replies`.
    /// An error leaves a value as it was.
    pub(super) fn read(
        &self,
        watermarks: &[Watermark],
        replies: Vec<RedisResult<Value>>,
    ) -> Vec<StoredWatermark> {
        let mut all: Vec<StoredWatermark> =
            watermarks.iter().map(|watermark| watermark.stored.clone()).collect();
        for (key, reply) in self.keys.iter().zip(replies) {
            let Ok(text) = reply.and_then(|reply| Ok(from_redis_value::<String>(reply)?)) else {
                continue;
            };
            let values = all.iter_mut().zip(text.split('\n'));
            for (stored, value) in values.filter(|(_, value)| !value.starts_with('-')) {
                stored.insert(Arc::clone(key), Some(value.to_owned()).filter(|v| !v.is_empty()));
            }
        }
        all
    }
}

/// Returns the code of the error with which a server refused to replace a watermark, if it means
/// that Redis as a whole is unavailable.
pub(super) fn outage(replies: &[RedisResult<Value>]) -> Option<String> {
    replies.iter().flat_map(codes).find(|code| error::is_outage_code(code))
}

/// Returns the codes of the errors with which servers refused to read or replace watermarks. A key
/// of another type is none: the next write replaces it.
pub(super) fn refusals(replies: &[RedisResult<Value>]) -> Vec<String> {
    replies.iter().flat_map(codes).filter(|code| code != "WRONGTYPE").collect()
}

fn codes(reply: &RedisResult<Value>) -> Vec<String> {
    match reply {
        Err(error) => vec![error.code().unwrap_or_default().to_owned()],
        Ok(Value::BulkString(text)) => {
            let text = String::from_utf8_lossy(text);
            let errors = text.lines().filter_map(|line| line.strip_prefix('-'));
            errors.filter_map(|error| error.split(' ').next()).map(str::to_owned).collect()
        }
        Ok(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> WatermarkKeys {
        let keys = ["ws:watermark:0", "ws:watermark:3"].map(Arc::from);
        WatermarkKeys { replace: "sha".into(), note_since: "sha".into(), keys: keys.into() }
    }

    fn watermark(values: &[(&str, Option<&str>)]) -> Watermark {
        let stored = values.iter().map(|(key, value)| ((*key).into(), value.map(str::to_owned)));
        let (source, stored) = ("g/t/0".into(), stored.collect());
        Watermark { source, stored, token: "a-2".into(), position: "7".into() }
    }

    fn refusal(code: &str) -> RedisResult<Value> {
        Err(redis::make_extension_error(code.to_owned(), Some("refused".to_owned())))
    }

    #[test]
    fn a_watermark_is_replaced_on_each_master_and_not_after_masters_have_changed() {
        let known = watermark(&[("ws:watermark:0", Some("a-1.3 5")), ("ws:watermark:3", None)]);
        let commands = keys().commands(&[known], 1);
        let last = |command: &Cmd| {
            let all: Vec<_> = command.args_iter().collect();
            all.len()
        };
        assert_eq!(commands.iter().map(last).collect::<Vec<_>>(), [8, 8]);
        let other = watermark(&[("ws:watermark:0", Some("a-1.3 5")), ("ws:watermark:1", None)]);
        assert!(keys().commands(&[other], 1).is_empty());
    }

    #[test]
    fn a_round_trip_names_the_time_at_which_the_last_one_that_succeeded_began() {
        let (keys, times) = (keys(), RoundTripTimes::default());
        let named = || {
            let last = |command: Cmd| match command.args_iter().last() {
                Some(redis::Arg::Simple(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
                other => panic!("{other:?}"),
            };
            keys.note_since(&times).map(last).collect::<Vec<_>>()
        };
        assert_eq!(named(), ["", ""]);
        times.record(&keys, vec![Ok(Value::BulkString("7".into())), refusal("NOPERM")]);
        assert_eq!(named(), ["7", ""]);
        times.record(&keys, vec![Ok(Value::BulkString("".into())), refusal("NOPERM")]);
        assert_eq!(named(), ["7", ""]);
    }

    #[test]
    fn a_reply_holds_the_present_values_and_an_error_changes_none() {
        let known = watermark(&[("ws:watermark:0", Some("a-1.3 5")), ("ws:watermark:3", None)]);
        let replies = vec![Ok(Value::BulkString("a-2.4 7".into())), refusal("NOPERM")];
        assert_eq!((outage(&replies), refusals(&replies)), (None, vec!["NOPERM".to_owned()]));
        let stored = keys().read(&[known], replies).remove(0);
        let values: Vec<_> = stored.values().map(|value| value.as_deref()).collect();
        assert_eq!(values, [Some("a-2.4 7"), None]);
    }

    #[test]
    fn a_demoted_master_is_an_outage_and_a_full_memory_is_not() {
        let reply = |text: &str| [Ok(Value::BulkString(text.into()))];
        let demoted = reply("a-1.3 5\n-READONLY You can't write against a read only replica.");
        assert_eq!(outage(&demoted), Some("READONLY".to_owned()));
        let full = reply("-OOM command not allowed");
        assert_eq!((outage(&full), refusals(&full)), (None, vec!["OOM".to_owned()]));
        assert!(refusals(&[refusal("WRONGTYPE")]).is_empty());
    }
}
