//! The simulated Redis against a real server: the same random operations, the same replies, messages
//! and keys.

mod real;
mod replies;

use harness::redis::Redis;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use simulation::redis::{
    commands,
    database::{Database, ReadState, Write},
    reply::Reply,
    store::Store,
};

use real::Real;
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
const CHANNEL: &str = "ws:channel";

/// Lifetimes that differ by more than a seed takes, in milliseconds.
const LIFETIMES: [&str; 3] = ["60000", "120000", "180000"];
/// How exactly the times are compared until keys expire, in milliseconds.
const RESOLUTION: u64 = 60_000;

const SEEDS: u64 = 10;
const OPERATIONS: usize = 200;

/// The simulated server, without connections.
#[derive(Default)]
struct Simulated {
    store: Store,
    is_out_of_memory: bool,
    /// What was published by the last operation.
    messages: Vec<Vec<u8>>,
}

impl Database for Simulated {
    fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    fn allow(&mut self, write: Write) -> Result<(), String> {
        let is_refused = self.is_out_of_memory && write == Write::AddsMemory;
        if is_refused { Err("OOM command not allowed".into()) } else { Ok(()) }
    }

    fn publish(&mut self, channel: &str, message: &[u8]) -> Result<i64, String> {
        assert_eq!(channel, CHANNEL);
        self.messages.push(message.to_vec());
        Ok(1)
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
                command(&[&keys[..], &[&self.start(), self.lifetime(), CHANNEL]].concat())
            }
            50..55 => {
                command(&["XRANGE", &stream, &format!("0-{}", self.number()), "+", "COUNT", "7"])
            }
            55..60 => self.page(&stream),
            60..65 => command(&["EVAL", MARKS, "2", &position, &start]),
            65..70 => command(&["MEMORY", "USAGE", &stream, "SAMPLES", "0"]),
            70..75 => command(&["SET", &owner, "teacher", "PX", self.lifetime()]),
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
        let [claim, stream, position] = [(); 3].map(|()| self.lifetime());
        let length = ["3", "1000"][self.random.random_range(0..2)];
        parts.extend(command(&[CHANNEL, claim, stream, length, position]));
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
                let channel = ["", CHANNEL][self.random.random_range(0..2)];
                let script = ["EVAL", READ_STATE, "4", stream, start, position, &read];
                command(&[&script[..], &[channel, up_to, self.lifetime()]].concat())
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

    fn lifetime(&mut self) -> &'static str {
        LIFETIMES[self.random.random_range(0..LIFETIMES.len())]
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

/// Returns the keys of a command.
fn keys(command: &Command) -> impl Iterator<Item = &String> {
    command.iter().filter(|part| part.starts_with("ws:") && *part != CHANNEL)
}

/// Whether the reply is a number that is not simulated.
fn is_estimate(command: &Command) -> bool {
    command.starts_with(&["MEMORY".to_owned(), "USAGE".to_owned()])
}

/// Runs an operation on both servers, and compares their replies, messages and keys.
async fn compare(
    operation: &Command,
    (real, real_ids): (&mut Real, &mut Ids),
    (simulated, simulated_ids): (&mut Simulated, &mut Ids),
) {
    let (of_real, of_simulated) = (real_ids.resolve(operation), simulated_ids.resolve(operation));
    real.await_next_millisecond().await;
    let expected = real_ids.of_real(real.run(&of_real).await);
    let actual = simulated_ids.of_simulated(run_simulated(simulated, &of_simulated));
    if !is_estimate(operation) {
        assert_eq!(actual, expected);
    }
    for message in std::mem::take(&mut simulated.messages) {
        let expected = real_ids.text(&real.message().await);
        assert_eq!(simulated_ids.text(&message), expected, "published");
    }
    for key in keys(operation) {
        let (name, length, expires) = real.describe(key).await;
        let expected = (name.as_str(), length, expires.map(|ms| ms.div_ceil(RESOLUTION)));
        let (name, length, expires) = simulated.store.describe(key);
        let actual = (name, length, expires.map(|ms| ms.div_ceil(RESOLUTION)));
        assert_eq!(actual, expected, "{key}");
    }
}

#[tokio::test]
async fn the_simulated_redis_does_what_a_real_one_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut real = Real::connect(Redis::start(folder.path()).await.expect("a server")).await;
    for seed in 0..SEEDS {
        for reset in [command(&["MEMORY", "free"]), command(&["FLUSHALL"])] {
            real.run(&reset).await.expect("the server is reset");
        }
        let mut simulated = Simulated::default();
        simulated.store.now = 1_000;
        let (mut real_ids, mut simulated_ids) = (Ids::default(), Ids::default());
        let mut operations =
            Operations { random: StdRng::seed_from_u64(seed), events: 0, starts: 0 };
        for number in 0..OPERATIONS {
            let operation = operations.next();
            let is_short = |part: &&String| !part.contains('\n');
            let parts: Vec<&String> = operation.iter().filter(is_short).collect();
            eprintln!("seed {seed}, operation {number}: {parts:?}");
            compare(&operation, (&mut real, &mut real_ids), (&mut simulated, &mut simulated_ids))
                .await;
        }
    }
    // Nothing else was published.
    real.run(&command(&["PUBLISH", CHANNEL, "end"])).await.expect("it is published");
    assert_eq!(real.message().await, b"end");
}
