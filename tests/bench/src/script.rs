//! The limit of the worker's throughput: its Redis script alone, pipelined.

use std::time::Instant;

use anyhow::Context as _;
use harness::{redis::Redis, stack::Stack};
use redis::{Pipeline, aio::MultiplexedConnection};

use crate::env::float;

/// The worker's script.
const SCRIPT: &str =
    include_str!("../../../ingest-worker/src/infrastructure/redis/publish_once.lua");
/// Calls per pipeline, as many as the worker has records in a batch.
const PIPELINE: u64 = 256;
/// Concurrent pipelines; two keep Redis busy.
const IN_FLIGHT: u64 = 2;

/// The worker's default for idempotency keys and history, in milliseconds.
const RETENTION: u64 = 86_400_000;

/// Returns script calls per second on an empty Redis, for `events` notifications to `users`.
pub(crate) async fn per_second(
    redis: &Redis,
    users: &[String],
    text: &str,
    events: u64,
) -> anyhow::Result<f64> {
    let mut connection = redis.connection().await?;
    redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
    let script = load(&mut connection).await?;
    let begun = Instant::now();
    let lanes = (0..IN_FLIGHT).map(|lane| {
        let (connection, script) = (connection.clone(), script.clone());
        run(connection, script, users, text, (lane, events / PIPELINE))
    });
    futures_util::future::try_join_all(lanes).await?;
    Ok(float(events / PIPELINE * PIPELINE) / begun.elapsed().as_secs_f64())
}

/// Loads the script into Redis; returns its name there.
pub(crate) async fn load(connection: &mut MultiplexedConnection) -> anyhow::Result<String> {
    Ok(redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(connection).await?)
}

/// Adds a call that publishes a notification to a user; events differ by their number.
pub(crate) fn add_call(
    pipeline: &mut Pipeline,
    script: &str,
    user: &str,
    (number, text): (u64, &str),
) {
    let call = pipeline.cmd("EVALSHA").arg(script).arg(4);
    call.arg(format!("ws:stream:{{{user}}}"))
        .arg(format!("ws:start:{{{user}}}"))
        .arg(format!("ws:position:{{{user}}}"))
        .arg(format!("ws:seen:{{{user}}}:0b8f6a51-6a0f-4f3f-9a39-{number:012x}"))
        .arg(format!("ws:{user}"))
        .arg(RETENTION)
        .arg(RETENTION)
        .arg(256)
        .arg(RETENTION)
        .arg("")
        .arg(text);
}

async fn run(
    mut connection: MultiplexedConnection,
    script: String,
    users: &[String],
    text: &str,
    (lane, pipelines): (u64, u64),
) -> anyhow::Result<()> {
    for number in (lane..pipelines).step_by(usize::try_from(IN_FLIGHT)?) {
        let mut pipeline = Pipeline::with_capacity(usize::try_from(PIPELINE)?);
        for event in number * PIPELINE..(number + 1) * PIPELINE {
            let user = &users[usize::try_from(event)? % users.len()];
            add_call(&mut pipeline, &script, user, (event, text));
        }
        let _: Vec<redis::Value> =
            pipeline.query_async(&mut connection).await.context("publish")?;
    }
    Ok(())
}

/// Returns the notification that the worker has published to a user.
pub(crate) async fn text_of(stack: &Stack, user: &str) -> anyhow::Result<String> {
    let mut texts = stack.stream(user).await?;
    Ok(texts.pop().context("the user's stream is empty")?.1)
}
