//! The simulated Redis against a real server: the same random operations, the same replies.

use std::collections::HashMap;

use harness::redis::Redis;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use redis::{Cmd, RedisError, Value, aio::MultiplexedConnection};
use simulation::redis::{
    commands,
    database::{Database, Write},
    reply::Reply,
    store::Store,
};

const PUBLISH_ONCE: &str =
    include_str!("../../../ingest-worker/src/infrastructure/redis/publish_once.lua");
const NEWEST_POSITION: &str = include_str!("../../../ws-gateway/src/redis/newest_position.lua");

const SEEDS: u64 = 10;
const OPERATIONS: usize = 200;

/// The simulated server, without connections.
#[derive(Default)]
struct Simulated {
    store: Store,
    is_out_of_memory: bool,
}

impl Database for Simulated {
    fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    fn allow(&mut self, write: Write) -> Result<(), String> {
        let is_refused = self.is_out_of_memory && write == Write::AddsMemory;
        if is_refused { Err("OOM command not allowed".into()) } else { Ok(()) }
    }

    fn publish(&mut self, _: &str, _: &[u8]) -> Result<i64, String> {
        Ok(0)
    }

    fn has_script(&mut self) -> bool {
        true
    }

    fn load_script(&mut self) -> String {
        String::new()
    }
}

/// A command as the services send it; a script is named by its text.
type Command = Vec<String>;

fn command(parts: &[&str]) -> Command {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

/// Draws operations on the keys of a few users.
struct Operations {
    random: StdRng,
    events: u32,
}

impl Operations {
    fn next(&mut self) -> Command {
        let user = self.random.random_range(0..3);
        let [stream, start, position, owner] =
            ["stream", "start", "position", "owner"].map(|kind| format!("ws:{kind}:{{{user}}}"));
        match self.random.random_range(0..100) {
            0..40 => self.publish(user, &[&stream, &start, &position]),
            40..50 => command(&[
                "EVAL",
                NEWEST_POSITION,
                "2",
                &stream,
                &position,
                &format!("0-{}", self.number()),
                "60000",
            ]),
            50..60 => {
                command(&["XRANGE", &stream, &format!("0-{}", self.number()), "+", "COUNT", "7"])
            }
            60..70 => command(&["MGET", &position, &start]),
            70..75 => command(&["SET", &owner, "teacher", "PX", "60000"]),
            75..80 => command(&["GET", &owner]),
            80..85 => command(&["GET", &stream]),
            85..88 => command(&[
                "ZADD",
                "ws:revoked",
                &self.number().to_string(),
                &self.number().to_string(),
            ]),
            88..90 => command(&[
                "ZREVRANGEBYSCORE",
                "ws:revoked",
                "+inf",
                &format!("({}", self.number()),
                "LIMIT",
                "0",
                "1000",
            ]),
            90..94 => command(&["DEL", &self.any_key(user)]),
            94..96 => command(&["SADD", &self.any_key(user), "member"]),
            96..98 => {
                command(&["XADD", &stream, &format!("99999999999999-{}", self.events), "n", "{}"])
            }
            98 => command(&["FLUSHALL"]),
            _ => command(&[
                "MEMORY",
                if self.random.random_range(0..2) == 0 { "full" } else { "free" },
            ]),
        }
    }

    fn publish(&mut self, user: u32, keys: &[&str]) -> Command {
        let count = self.random.random_range(1..4);
        let events: Vec<u32> = (0..count).map(|_| self.event()).collect();
        let mut parts = command(&["EVAL", PUBLISH_ONCE, &(keys.len() + events.len()).to_string()]);
        parts.extend(keys.iter().map(|key| (*key).to_owned()));
        parts.extend(events.iter().map(|event| seen(user, *event)));
        parts.extend(command(&["ws:channel", "60000", "60000", "1000", "60000"]));
        parts.extend(events.iter().map(|event| format!("{{\"event\":{event}}}")));
        parts
    }

    /// Returns a new event, or one that may have been published.
    fn event(&mut self) -> u32 {
        self.events += 1;
        if self.random.random_range(0..3) == 0 { self.number() } else { self.events }
    }

    fn any_key(&mut self, user: u32) -> String {
        let event = self.number();
        match self.random.random_range(0..6) {
            0 => seen(user, event),
            5 => "ws:revoked".into(),
            1 => format!("ws:start:{{{user}}}"),
            2 => format!("ws:position:{{{user}}}"),
            3 => format!("ws:owner:{{{user}}}"),
            _ => format!("ws:stream:{{{user}}}"),
        }
    }

    fn number(&mut self) -> u32 {
        self.random.random_range(0..=self.events)
    }
}

fn seen(user: u32, event: u32) -> String {
    format!("ws:seen:{{{user}}}:{event}")
}

/// Names stream ids by the order in which they were assigned, as their times differ.
#[derive(Default)]
struct Ids(HashMap<String, usize>);

impl Ids {
    fn rename(&mut self, text: &str) -> String {
        let mut words = Vec::new();
        for word in text.split_inclusive([' ', '\n']) {
            let (id, rest) = word.split_at(word.trim_end().len());
            let is_id = id.split_once('-').is_some_and(|(ms, seq)| {
                ms != "0" && ms.parse::<u64>().is_ok() && seq.parse::<u64>().is_ok()
            });
            let next = self.0.len();
            words.push(if is_id {
                format!("#{}{rest}", self.0.entry(id.to_owned()).or_insert(next))
            } else {
                word.to_owned()
            });
        }
        words.concat()
    }

    /// Keeps the code of an error only.
    fn error(text: &str) -> String {
        text.split(' ').next().unwrap_or_default().to_owned()
    }

    fn text(&mut self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().map(|line| {
            if let Some(error) = line.strip_prefix('-') {
                format!("-{}", Self::error(error))
            } else {
                self.rename(line)
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn of_real(&mut self, reply: Result<Value, RedisError>) -> String {
        match reply {
            Err(error) => format!("error {}", error.code().unwrap_or("?")),
            Ok(Value::Nil) => "nil".into(),
            Ok(Value::Okay) => "ok".into(),
            Ok(Value::Int(_)) => "number".into(),
            Ok(Value::BulkString(bytes)) => self.text(&bytes),
            Ok(Value::SimpleString(text)) => self.text(text.as_bytes()),
            Ok(Value::Array(items)) => {
                let items = items.into_iter().map(|item| self.of_real(Ok(item)));
                format!("[{}]", items.collect::<Vec<_>>().join(", "))
            }
            Ok(other) => format!("{other:?}"),
        }
    }

    fn of_simulated(&mut self, reply: Reply) -> String {
        match reply {
            Reply::Error(error) => format!("error {}", Self::error(&error)),
            Reply::Nil => "nil".into(),
            Reply::Ok => "ok".into(),
            Reply::Int(_) => "number".into(),
            Reply::Bulk(bytes) => self.text(&bytes),
            Reply::Array(items) => {
                let items = items.into_iter().map(|item| self.of_simulated(item));
                format!("[{}]", items.collect::<Vec<_>>().join(", "))
            }
            other => format!("{other:?}"),
        }
    }
}

async fn run_real(
    real: &mut MultiplexedConnection,
    command: &Command,
) -> Result<Value, RedisError> {
    let mut parts = command.iter();
    let mut request = Cmd::new();
    if command[0] == "MEMORY" {
        let limit = if command[1] == "full" { "1" } else { "0" };
        request.arg(&["CONFIG", "SET", "maxmemory", limit]);
    } else {
        request.arg(parts.next().expect("a command has a name"));
        parts.for_each(|part| {
            request.arg(part);
        });
    }
    request.query_async(real).await
}

fn run_simulated(simulated: &mut Simulated, command: &Command) -> Reply {
    if command[0] == "MEMORY" {
        simulated.is_out_of_memory = command[1] == "full";
        return Reply::Ok;
    }
    let mut parts: Vec<Vec<u8>> = command.iter().map(|part| part.clone().into_bytes()).collect();
    if command[1..].first().is_some_and(|script| script == PUBLISH_ONCE) {
        parts[0] = b"EVALSHA".to_vec();
    }
    simulated.store.now += 1;
    commands::run(simulated, &parts)
}

/// A stream that is created again within a millisecond would assign an id again.
async fn await_next_millisecond(real: &mut MultiplexedConnection) {
    let mut first = None;
    loop {
        let (seconds, micros): (u64, u64) =
            Cmd::new().arg("TIME").query_async(real).await.expect("the server answers");
        let now = (seconds, micros / 1000);
        if *first.get_or_insert(now) != now {
            return;
        }
    }
}

#[tokio::test]
async fn the_simulated_redis_answers_like_a_real_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Redis::start(folder.path()).await.expect("a server");
    let mut real = server.connection().await.expect("a connection");
    for seed in 0..SEEDS {
        for reset in [command(&["MEMORY", "free"]), command(&["FLUSHALL"])] {
            run_real(&mut real, &reset).await.expect("the server is reset");
        }
        let mut simulated = Simulated::default();
        simulated.store.now = 1_000;
        let (mut real_ids, mut simulated_ids) = (Ids::default(), Ids::default());
        let mut operations = Operations { random: StdRng::seed_from_u64(seed), events: 0 };
        for number in 0..OPERATIONS {
            let command = operations.next();
            await_next_millisecond(&mut real).await;
            let expected = real_ids.of_real(run_real(&mut real, &command).await);
            let actual = simulated_ids.of_simulated(run_simulated(&mut simulated, &command));
            assert_eq!(actual, expected, "seed {seed}, operation {number}: {command:?}");
        }
    }
}
