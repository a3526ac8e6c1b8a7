//! What Redis itself does while it keeps its data, and what is left when it does not.

use anyhow::{Context as _, ensure};
use harness::{
    free_port,
    stack::{Layout, Stack},
};
use redis::{aio::MultiplexedConnection, cmd};
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy, RecoveryLatency},
    event_generator::EventGenerator,
};

use super::{PER_SECOND, RECOVERY_LIMIT, USERS, counted, report_repairs};
use crate::{
    assertions::wait_for_published,
    context::Context,
    run_profile::{RunProfile, seed},
    runner::scenarios,
};

scenarios![
    whatever_redis_refuses_for_a_while_no_event_and_no_socket_is_lost,
    a_redis_that_drops_clients_or_stands_still_costs_no_event_and_no_socket,
    a_redis_that_loads_its_data_for_a_while_costs_no_event_and_no_socket,
    a_flush_under_flow_costs_no_event_and_the_past_is_not_called_complete,
];

/// What befalls Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It does not answer.
    Frozen,
    /// It drops every connection of one kind.
    Drops(&'static str),
    /// It has no memory left.
    Full,
    /// It is a replica whose master is gone.
    ReadOnly,
    /// It wants a password that the services do not know.
    WrongPassword,
    /// It has forgotten all scripts.
    NoScripts,
}

impl Trouble {
    pub(super) async fn begin(
        self,
        stack: &Stack,
        admin: &mut MultiplexedConnection,
    ) -> anyhow::Result<()> {
        match self {
            Self::Frozen => return stack.redis.freeze(),
            Self::Drops(kind) => run(admin, &["CLIENT", "KILL", "TYPE", kind]).await?,
            Self::Full => run(admin, &["CONFIG", "SET", "maxmemory", "1mb"]).await?,
            Self::ReadOnly => {
                run(admin, &["REPLICAOF", "127.0.0.1", &free_port()?.to_string()]).await?;
            }
            Self::WrongPassword => {
                run(admin, &["CONFIG", "SET", "requirepass", "another"]).await?;
                // Who is in stays in.
                run(admin, &["CLIENT", "KILL", "TYPE", "normal"]).await?;
                run(admin, &["CLIENT", "KILL", "TYPE", "pubsub"]).await?;
            }
            Self::NoScripts => run(admin, &["SCRIPT", "FLUSH"]).await?,
        }
        Ok(())
    }

    pub(super) async fn end(
        self,
        stack: &Stack,
        admin: &mut MultiplexedConnection,
    ) -> anyhow::Result<()> {
        match self {
            Self::Frozen => stack.redis.thaw(),
            Self::Drops(_) | Self::NoScripts => Ok(()),
            Self::Full => run(admin, &["CONFIG", "SET", "maxmemory", "0"]).await,
            Self::ReadOnly => run(admin, &["REPLICAOF", "NO", "ONE"]).await,
            Self::WrongPassword => run(admin, &["CONFIG", "SET", "requirepass", ""]).await,
        }
    }
}

async fn run(admin: &mut MultiplexedConnection, words: &[&str]) -> anyhow::Result<()> {
    let done = cmd(words[0]).arg(&words[1..]).exec_async(admin).await;
    done.with_context(|| words.join(" "))
}

async fn whatever_redis_refuses_for_a_while_no_event_and_no_socket_is_lost(
    context: &Context,
) -> anyhow::Result<()> {
    let troubles = [Trouble::Full, Trouble::ReadOnly, Trouble::NoScripts, Trouble::WrongPassword];
    endures(context, "Redis refuses", &troubles).await
}

async fn a_redis_that_drops_clients_or_stands_still_costs_no_event_and_no_socket(
    context: &Context,
) -> anyhow::Result<()> {
    let troubles = [Trouble::Drops("normal"), Trouble::Drops("pubsub"), Trouble::Frozen];
    endures(context, "Redis is gone", &troubles).await
}

/// Goes through troubles, while events are sent, and waits after each until it is over for everybody.
async fn endures(context: &Context, what: &str, troubles: &[Trouble]) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    let fleet = ClientFleet::connect(&stack, &[(USERS, ReconnectPolicy::Never)]).await?;
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed(what)).await?;
    let mut admin = stack.redis.connection().await?;
    let mut all = RecoveryLatency::default();
    for trouble in troubles {
        let noticed = notices(&stack).await?;
        generator.wait_for_sent(20).await?;
        trouble.begin(&stack, &mut admin).await?;
        generator.wait_for_sent(RunProfile::current().pick(250, 1_000)).await?;
        trouble.end(&stack, &mut admin).await?;
        let repair = fleet.wait_for_delivery(RECOVERY_LIMIT).await;
        let repair = repair.with_context(|| format!("{trouble:?}"))?;
        eprintln!("{what}, {trouble:?}: {repair}");
        ensure!(notices(&stack).await? > noticed, "{trouble:?}: nobody noticed");
        all.add(&repair);
    }
    eprintln!("{what}, all: {all}");
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    report_repairs(what, &stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

/// How often the services have had trouble with Redis.
async fn notices(stack: &Stack) -> anyhow::Result<f64> {
    let worker = &stack.workers[0];
    let retries = counted(worker, r#"ingest_worker_retries_total{system="redis"}"#).await?;
    Ok(retries + counted(&stack.gateways[0], "gateway_redis_outages_total").await?)
}

async fn a_redis_that_loads_its_data_for_a_while_costs_no_event_and_no_socket(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout::default()).await?;
    let fleet = ClientFleet::connect(&stack, &[(USERS, ReconnectPolicy::Never)]).await?;
    let mut generator =
        EventGenerator::start(&stack, &fleet, PER_SECOND, seed("Redis loads")).await?;
    generator.wait_for_sent(400).await?;
    // It answers between a thousand commands that it reads back, so there must be many.
    let mut admin = stack.redis.connection().await?;
    let mut filler = ::redis::pipe();
    for number in 0..60_000 {
        filler.set(format!("filler-{number}"), "").ignore();
    }
    filler.exec_async(&mut admin).await?;
    stack.redis.kill().await?;
    stack.redis.restart_loading().await?;
    generator.wait_for_sent(RunProfile::current().pick(200, 1_000)).await?;
    stack.redis.finish_loading().await?;
    let repair = fleet.wait_for_delivery(RECOVERY_LIMIT).await?;
    eprintln!("Redis loads: {repair}");
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

async fn a_flush_under_flow_costs_no_event_and_the_past_is_not_called_complete(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    let fleet = ClientFleet::connect(&stack, &[(USERS, ReconnectPolicy::Never)]).await?;
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed("flush")).await?;
    let past = &fleet.users[0];
    let position = wait_for_published(&stack, past, 1).await?.swap_remove(0).0;
    let mut admin = stack.redis.connection().await?;
    for _ in 0..RunProfile::current().pick(3, 20) {
        generator.wait_for_sent(100).await?;
        run(&mut admin, &["FLUSHALL"]).await?;
    }
    let resumed = stack.connection(0, past)?.query("last_event_id", &position).open().await;
    let state = resumed?.expect_authenticated(harness::stack::TIMEOUT).await?;
    ensure!(state["resume"] == "incomplete", "what is gone is called complete: {state}");
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}
