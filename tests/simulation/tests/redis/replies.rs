//! Replies of both servers as comparable texts.

use std::collections::HashMap;

use redis::{RedisError, Value};
use simulation::redis::reply::Reply;

use super::Command;

/// Names stream ids and times by the order in which they were assigned, as they differ.
#[derive(Default)]
pub(crate) struct Ids(HashMap<String, usize>);

impl Ids {
    fn rename(&mut self, text: &str) -> String {
        let (mut words, mut is_time) = (Vec::new(), false);
        for word in text.split_inclusive([' ', '\n', '"']) {
            let (id, rest) = word.split_at(word.trim_end_matches([' ', '\n', '"']).len());
            let is_id = id.split_once('-').is_some_and(|(ms, seq)| {
                let numbers = ms.parse::<u64>().ok().zip(seq.parse::<u64>().ok());
                // A position before all entries contains the time.
                numbers.is_some_and(|(ms, seq)| ms > 0 || seq >= 1 << 19)
            });
            let (next, is_renamed) = (self.0.len(), is_id || is_time);
            is_time = id == "at";
            words.push(if is_renamed {
                format!("#{}{rest}", self.0.entry(id.to_owned()).or_insert(next))
            } else {
                word.to_owned()
            });
        }
        words.concat()
    }

    /// Returns a command with an id of this server in place of each `#` and number.
    pub(crate) fn resolve(&self, command: &Command) -> Command {
        let resolve = |part: &String| {
            let number = part.strip_prefix('#').and_then(|number| number.parse::<usize>().ok());
            let index = number.map(|number| number % self.0.len().max(1));
            let id = self.0.iter().find(|(_, known)| Some(**known) == index);
            id.map_or(part, |(id, _)| id).clone()
        };
        command.iter().map(resolve).collect()
    }

    /// Keeps the code of an error only.
    fn error(text: &str) -> String {
        text.split(' ').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn text(&mut self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        if text.parse::<u64>().is_ok_and(|millis| millis >= 1_000) {
            return "time".into();
        }
        let lines = text.lines().map(|line| {
            if let Some(error) = line.strip_prefix('-') {
                format!("-{}", Self::error(error))
            } else {
                self.rename(line)
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn of_real(&mut self, reply: Result<Value, RedisError>) -> String {
        match reply {
            Err(error) => format!("error {}", error.code().unwrap_or("?")),
            Ok(Value::Nil) => "nil".into(),
            Ok(Value::Okay) => "ok".into(),
            Ok(Value::Int(number)) => number.to_string(),
            Ok(Value::BulkString(bytes)) => self.text(&bytes),
            Ok(Value::SimpleString(text)) => self.text(text.as_bytes()),
            Ok(Value::Array(items)) => {
                let items = items.into_iter().map(|item| self.of_real(Ok(item)));
                format!("[{}]", items.collect::<Vec<_>>().join(", "))
            }
            Ok(other) => format!("{other:?}"),
        }
    }

    pub(crate) fn of_simulated(&mut self, reply: Reply) -> String {
        match reply {
            Reply::Error(error) => format!("error {}", Self::error(&error)),
            Reply::Nil => "nil".into(),
            Reply::Ok => "ok".into(),
            Reply::Int(number) => number.to_string(),
            Reply::Bulk(bytes) => self.text(&bytes),
            Reply::Array(items) => {
                let items = items.into_iter().map(|item| self.of_simulated(item));
                format!("[{}]", items.collect::<Vec<_>>().join(", "))
            }
            other => format!("{other:?}"),
        }
    }
}
