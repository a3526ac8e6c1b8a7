//! The simulated Redis against a real server: the same random operations, the same replies.

mod replies;

use harness::redis::Redis;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use redis::{Cmd, RedisError, Value, aio::MultiplexedConnection};
use simulation::redis::{
    commands,
    database::{Database, ReadState, Write},
    reply::Reply,
    store::Store,
};

use replies::Ids;

const PUBLISH_ONCE: &str =
    include_str!("../../../../ingest-worker/src/infrastructure/redis/publish_once.lua");
const REPLACE_WATERMARKS: &str =
    include_str!("../../../../ingest-worker/src/infrastructure/redis/replace_watermarks.lua");
const NOTE_SINCE: &str =
    include_str!("../../../../ingest-worker/src/infrastructure/redis/note_since.lua");
const MARKS: &str = include_str!("../../../../ws-gateway/src/redis/history/marks.lua");
const NEWEST_POSITION: &str = include_str!("../../../../ws-gateway/src/redis/newest_position.lua");
const PAGE: &str = include_str!("../../../../ws-gateway/src/redis/history/page.lua");
const READ_STATE: &str = include_str!("../../../../ws-gateway/src/redis/read_state.lua");

const WATERMARKS: &str = "ws:watermark:0";

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

    fn stored(&mut self, _: &str, _: &[u8]) {}

    fn counted(&mut self, _: &str, _: &ReadState) {}

    fn position_refused(&mut self, _: &str) {}

    fn has_scripts(&mut self) -> bool {
        true
    }

    fn load_scripts(&mut self) {}
}

/// A command as the services send it; a script is named by its text, and an id by `#` and a number.
type Command = Vec<String>;

fn command(parts: &[&str]) -> Command {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

/// Draws operations on the keys of a few users.
struct Operations {
    random: StdRng,
    events: u32,
    starts: u32,
}

impl Operations {
    fn next(&mut self) -> Command {
        let user = self.random.random_range(0..3);
        let [stream, start, position, owner] =
            ["stream", "start", "position", "owner"].map(|kind| format!("ws:{kind}:{{{user}}}"));
        match self.random.random_range(0..150_u32) {
            110.. => self.read_state(user, [&stream, &start, &position]),
            100..103 => command(&["HMGET", WATERMARKS, "a", "b", "since"]),
            103..107 => self.replace_watermarks(),
            107..110 => {
                let last = self.number().to_string();
                command(&["EVAL", NOTE_SINCE, "1", WATERMARKS, &last])
            }
            0..40 => self.publish(user, &[&stream, &start, &position]),
            40..50 => {
                let keys = ["EVAL", NEWEST_POSITION, "2", &stream, &position];
                command(&[&keys[..], &[&self.start(), "60000", "ws:channel"]].concat())
            }
            50..55 => {
                command(&["XRANGE", &stream, &format!("0-{}", self.number()), "+", "COUNT", "7"])
            }
            55..60 => self.page(&stream),
            60..65 => command(&["EVAL", MARKS, "2", &position, &start]),
            65..70 => command(&["MEMORY", "USAGE", &stream, "SAMPLES", "0"]),
            70..75 => command(&["SET", &owner, "teacher", "PX", "60000"]),
            75..80 => command(&["GET", &owner]),
            80..85 => command(&["GET", &stream]),
            85..88 => {
                let [score, member] = [self.number(), self.number()].map(|n| n.to_string());
                command(&["ZADD", "ws:revoked", &score, &member])
            }
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
            99 => command(&[
                "MEMORY",
                if self.random.random_range(0..2) == 0 { "full" } else { "free" },
            ]),
        }
    }

    /// Returns the script that reads a page, whose limits a few entries reach.
    fn page(&mut self, stream: &str) -> Command {
        let after = ["0-0".to_owned(), format!("#{}", self.random.random_range(0..1_000))];
        let after = &after[self.random.random_range(0..2)];
        let [count, max_bytes] = [12, 60].map(|max| self.random.random_range(1..max).to_string());
        let max_text = ["10", "12", "100"][self.random.random_range(0..3)];
        command(&["EVAL", PAGE, "1", stream, "n", after, &count, &max_bytes, max_text])
    }

    fn publish(&mut self, user: u32, keys: &[&str]) -> Command {
        let count = self.random.random_range(1..4);
        let events: Vec<u32> = (0..count).map(|_| self.event()).collect();
        let mut parts = command(&["EVAL", PUBLISH_ONCE, &(keys.len() + events.len()).to_string()]);
        parts.extend(keys.iter().map(|key| (*key).to_owned()));
        parts.extend(events.iter().map(|event| seen(user, *event)));
        parts.extend(command(&["ws:channel", "60000", "60000", "1000", "60000"]));
        // Published; rebuilt silently; rebuilt where a history has survived, or one with entries.
        let losses =
            ["", "intact-until 1", "intact-until 9000000000000000", "noticed-at 9000000000000000"];
        parts.push(losses[self.random.random_range(0..losses.len())].to_owned());
        parts.extend(events.iter().map(|event| format!("{{\"event\":{event}}}")));
        parts
    }

    /// Returns a command that a read state depends on.
    fn read_state(&mut self, user: u32, [stream, start, position]: [&str; 3]) -> Command {
        let read = format!("ws:read:{{{user}}}");
        let up_to = format!("#{}", self.random.random_range(0..1_000));
        match self.random.random_range(0..10) {
            0 => {
                let length = self.random.random_range(0..4).to_string();
                command(&["XTRIM", stream, "MAXLEN", &length])
            }
            1 => {
                let foreign = ["x y", "x 1 y", "99999999999999999999-0 1 y", "7-"];
                let value = foreign[self.random.random_range(0..foreign.len())];
                command(&["SET", &read, value, "PX", "60000"])
            }
            _ => {
                let positions = ["", "7-7", &up_to, &up_to, &up_to];
                let up_to = positions[self.random.random_range(0..positions.len())];
                let channel = ["", "ws:channel"][self.random.random_range(0..2)];
                let script = ["EVAL", READ_STATE, "4", stream, start, position, &read];
                command(&[&script[..], &[channel, up_to, "60000"]].concat())
            }
        }
    }

    fn replace_watermarks(&mut self) -> Command {
        let mut parts = command(&["EVAL", REPLACE_WATERMARKS, "1", WATERMARKS]);
        for field in ["a", "b"] {
            let expected = if self.random.random_range(0..3) == 0 { "" } else { "t.1 5" };
            let number = self.random.random_range(1..3);
            parts.extend(command(&[field, expected, "t.", &format!("t.{number} 5")]));
        }
        parts
    }

    /// Returns a new event, or one that may have been published.
    fn event(&mut self) -> u32 {
        self.events += 1;
        if self.random.random_range(0..3) == 0 { self.number() } else { self.events }
    }

    fn any_key(&mut self, user: u32) -> String {
        let event = self.number();
        match self.random.random_range(0..8) {
            7 => format!("ws:read:{{{user}}}"),
            6 => WATERMARKS.to_owned(),
            0 => seen(user, event),
            5 => "ws:revoked".into(),
            1 => format!("ws:start:{{{user}}}"),
            2 => format!("ws:position:{{{user}}}"),
            3 => format!("ws:owner:{{{user}}}"),
            _ => format!("ws:stream:{{{user}}}"),
        }
    }

    /// Returns a number of its own: the simulated time passes more slowly.
    fn start(&mut self) -> String {
        self.starts += 1;
        self.starts.to_string()
    }

    fn number(&mut self) -> u32 {
        self.random.random_range(0..=self.events)
    }
}

/// Whether a command sets how much memory there is.
fn is_limit(command: &Command) -> bool {
    command[0] == "MEMORY" && command.len() == 2
}

fn seen(user: u32, event: u32) -> String {
    format!("ws:seen:{{{user}}}:{event}")
}

async fn run_real(
    real: &mut MultiplexedConnection,
    command: &Command,
) -> Result<Value, RedisError> {
    let mut parts = command.iter();
    let mut request = Cmd::new();
    if is_limit(command) {
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
    if is_limit(command) {
        simulated.is_out_of_memory = command[1] == "full";
        return Reply::Ok;
    }
    let mut parts: Vec<Vec<u8>> = command.iter().map(|part| part.clone().into_bytes()).collect();
    if command[1..].first().is_some_and(|script| script == PUBLISH_ONCE) {
        parts[0] = b"EVALSHA".to_vec();
    }
    let hashes =
        [(REPLACE_WATERMARKS, commands::REPLACE_WATERMARKS), (NOTE_SINCE, commands::NOTE_SINCE)];
    for (script, hash) in hashes {
        if command[1..].first().is_some_and(|text| text == script) {
            (parts[0], parts[1]) = ("EVALSHA".into(), hash.into());
        }
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
        let mut operations =
            Operations { random: StdRng::seed_from_u64(seed), events: 0, starts: 0 };
        for number in 0..OPERATIONS {
            let command = operations.next();
            await_next_millisecond(&mut real).await;
            let (of_real, of_simulated) =
                (real_ids.resolve(&command), simulated_ids.resolve(&command));
            let expected = real_ids.of_real(run_real(&mut real, &of_real).await);
            let actual = simulated_ids.of_simulated(run_simulated(&mut simulated, &of_simulated));
            assert_eq!(actual, expected, "seed {seed}, operation {number}: {command:?}");
        }
    }
}
