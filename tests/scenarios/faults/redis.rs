//! Faults of Redis itself: it refuses, hangs, loads, or loses its data.

use anyhow::{Context as _, ensure};
use harness::{
    free_port,
    stack::{Layout, Stack, TIMEOUT},
};
use redis::{aio::MultiplexedConnection, cmd, pipe};
use support::client_fleet::RecoveryLatency;

use super::print_gap_repairs;
use crate::{
    assertions::wait_for_published, context::Context, run_profile::RunProfile, runner::scenarios,
    under_load::UnderLoad,
};

scenarios![
    a_redis_that_refuses_closes_or_hangs_costs_no_event_and_no_socket,
    a_redis_that_is_loading_costs_no_event_and_no_socket,
    a_flush_costs_no_live_event_and_a_resume_across_it_is_incomplete,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RedisFault {
    /// No answers, connections stay open.
    Frozen,
    /// Every connection of one type is closed.
    ConnectionsClosed(&'static str),
    /// Writes fail with OOM.
    OutOfMemory,
    /// Writes fail with READONLY: a replica without its master.
    ReadOnly,
    /// New connections fail with NOAUTH.
    PasswordChanged,
    /// EVALSHA fails with NOSCRIPT.
    ScriptsFlushed,
}

impl RedisFault {
    pub(super) async fn start(
        self,
        stack: &Stack,
        admin: &mut MultiplexedConnection,
    ) -> anyhow::Result<()> {
        match self {
            Self::Frozen => stack.redis.freeze(),
            Self::ConnectionsClosed(kind) => run(admin, &["CLIENT", "KILL", "TYPE", kind]).await,
            Self::OutOfMemory => run(admin, &["CONFIG", "SET", "maxmemory", "1mb"]).await,
            Self::ReadOnly => {
                run(admin, &["REPLICAOF", "127.0.0.1", &free_port()?.to_string()]).await
            }
            Self::PasswordChanged => {
                run(admin, &["CONFIG", "SET", "requirepass", "another"]).await?;
                // Connections that are authenticated stay so.
                run(admin, &["CLIENT", "KILL", "TYPE", "normal"]).await?;
                run(admin, &["CLIENT", "KILL", "TYPE", "pubsub"]).await
            }
            Self::ScriptsFlushed => run(admin, &["SCRIPT", "FLUSH"]).await,
        }
    }

    pub(super) async fn end(
        self,
        stack: &Stack,
        admin: &mut MultiplexedConnection,
    ) -> anyhow::Result<()> {
        match self {
            Self::Frozen => stack.redis.thaw(),
            Self::ConnectionsClosed(_) | Self::ScriptsFlushed => Ok(()),
            Self::OutOfMemory => run(admin, &["CONFIG", "SET", "maxmemory", "0"]).await,
            Self::ReadOnly => run(admin, &["REPLICAOF", "NO", "ONE"]).await,
            Self::PasswordChanged => run(admin, &["CONFIG", "SET", "requirepass", ""]).await,
        }
    }
}

async fn run(admin: &mut MultiplexedConnection, words: &[&str]) -> anyhow::Result<()> {
    let result = cmd(words[0]).arg(&words[1..]).exec_async(admin).await;
    result.with_context(|| words.join(" "))
}

/// Injects each fault in turn; waits after each until every event is delivered, and checks that
/// the services noticed it.
async fn a_redis_that_refuses_closes_or_hangs_costs_no_event_and_no_socket(
    context: &Context,
) -> anyhow::Result<()> {
    let faults = [
        RedisFault::OutOfMemory,
        RedisFault::ReadOnly,
        RedisFault::ScriptsFlushed,
        RedisFault::PasswordChanged,
        RedisFault::ConnectionsClosed("normal"),
        RedisFault::ConnectionsClosed("pubsub"),
        RedisFault::Frozen,
    ];
    let stack = context.own_stack(&Layout::default()).await?;
    let mut load = UnderLoad::start(stack, "faults of Redis").await?;
    let mut admin = load.stack.redis.connection().await?;
    let mut all = RecoveryLatency::default();
    for fault in faults {
        let failures = redis_failures(&load.stack).await?;
        let connects = logged_connects(&load.stack)?;
        load.events.wait_for_sent(20).await?;
        fault.start(&load.stack, &mut admin).await?;
        load.events.wait_for_sent(RunProfile::current().pick(250, 1_000)).await?;
        fault.end(&load.stack, &mut admin).await?;
        let what = format!("{fault:?}");
        all.add(&load.wait_for_recovery(&what).await.context(what)?);
        let noticed = redis_failures(&load.stack).await? > failures;
        ensure!(noticed, "{fault:?}: neither service counted a failure of Redis");
        let connects = logged_connects(&load.stack)? - connects;
        ensure!(connects <= 1, "{fault:?}: the worker has logged {connects} connections");
    }
    eprintln!("all faults of Redis: {all}");
    print_gap_repairs("faults of Redis", &load.stack).await?;
    for user in &load.clients.users {
        load.stack.wait_for_subscriptions(user, 1).await?;
    }
    load.finish().await
}

/// How many connections to Redis the worker has logged.
fn logged_connects(stack: &Stack) -> anyhow::Result<usize> {
    Ok(stack.workers[0].log()?.matches("connected to Redis").count())
}

/// How many failures of Redis the services have counted.
async fn redis_failures(stack: &Stack) -> anyhow::Result<f64> {
    let retries = r#"ingest_worker_retries_total{system="redis"}"#;
    let outages = stack.gateways[0].metric("gateway_redis_outages_total").await?;
    Ok(outages + stack.workers[0].metric(retries).await?)
}

async fn a_redis_that_is_loading_costs_no_event_and_no_socket(
    context: &Context,
) -> anyhow::Result<()> {
    // Redis answers once for every thousand commands that it loads.
    const COMMANDS: usize = 60_000;
    let stack = context.own_stack(&Layout::default()).await?;
    let mut load = UnderLoad::start(stack, "Redis is loading").await?;
    load.events.wait_for_sent(400).await?;
    let mut admin = load.stack.redis.connection().await?;
    let mut keys = pipe();
    for number in 0..COMMANDS {
        keys.set(format!("filler-{number}"), "").ignore();
    }
    keys.exec_async(&mut admin).await?;
    load.stack.redis.kill().await?;
    load.stack.redis.restart_loading().await?;
    load.events.wait_for_sent(RunProfile::current().pick(200, 1_000)).await?;
    load.stack.redis.finish_loading().await?;
    load.wait_for_recovery("loading").await?;
    load.finish().await
}

async fn a_flush_costs_no_live_event_and_a_resume_across_it_is_incomplete(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    let mut load = UnderLoad::start(stack, "flushed Redis").await?;
    let user = load.clients.users[0].clone();
    let position = wait_for_published(&load.stack, &user, 1).await?.swap_remove(0).0;
    let mut admin = load.stack.redis.connection().await?;
    for _ in 0..RunProfile::current().pick(3, 20) {
        load.events.wait_for_sent(100).await?;
        run(&mut admin, &["FLUSHALL"]).await?;
    }
    let connection = load.stack.connection(0, &user)?.query("last_event_id", &position);
    let state = connection.open().await?.expect_authenticated(TIMEOUT).await?;
    ensure!(state["resume"] == "incomplete", "expected an incomplete resume, got {state}");
    load.finish().await
}
