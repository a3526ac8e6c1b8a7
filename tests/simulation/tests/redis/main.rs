//! The simulated Redis against a real server: the same random operations, the same replies, messages
//! and keys.

mod operations;
mod real;
mod replies;

use harness::redis::Redis;
use simulation::redis::{
    commands,
    database::{Database, ReadState, Write},
    reply::Reply,
    store::Store,
};

use operations::{NOTE_SINCE, Operations, PUBLISH_ONCE, REPLACE_WATERMARKS};
use real::Real;
use replies::Ids;

const CHANNEL: &str = "ws:channel";

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

/// Whether a command sets how much memory there is.
fn is_limit(command: &Command) -> bool {
    command[0] == "MEMORY" && command.len() == 2
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
        let mut operations = Operations::of_seed(seed);
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
