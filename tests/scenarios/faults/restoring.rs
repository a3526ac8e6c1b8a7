//! What Redis loses comes back from Kafka: a server goes back in time, is flushed or comes back
//! empty, while workers are killed or join and clients are away. Each case prints a row.

pub(crate) mod case;
mod publications;
pub(crate) mod receiver;
mod watermarks;

use std::collections::HashSet;

use anyhow::ensure;
use harness::{
    redis::RedisTopology,
    stack::{Layout, Stack},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use redis::cmd;

use crate::{
    context::Context,
    run_profile::{RunProfile, seed},
    runner::scenarios,
    under_load::UnderLoad,
};
use case::{Case, Loss, Meanwhile, User};
use publications::Publications;
use watermarks::{wait_for_watermarks, wait_until_rebuilt};

scenarios![
    random_losses_are_restored,
    an_older_snapshot_is_completed_for_clients_that_were_away,
    a_snapshot_without_watermarks_is_completed_for_clients_that_resume_without_a_worker,
    a_redis_that_comes_back_empty_before_the_workers_start_notifies_no_connected_client_twice,
    a_power_failure_that_takes_the_last_second_costs_no_event,
    a_flush_under_load_costs_no_event_and_notifies_no_connected_client_twice,
    flushes_in_a_row_under_load_publish_no_event_again,
    a_redis_that_comes_back_empty_gets_its_histories_back,
    a_flush_is_repaired_without_notifying_connected_clients,
    a_worker_that_is_killed_while_it_restores_is_completed_by_the_next,
    a_rebalance_while_workers_restore_loses_and_repeats_nothing,
];

/// Few enough records that a case takes seconds.
const SMALL: Case = Case {
    users: 12,
    kept: 10,
    lost: 20,
    loss: Loss::OlderSnapshot,
    meanwhile: Meanwhile::Nothing,
};
/// Enough records that restoring them takes longer than killing or adding a worker; fewer for each
/// user than a gateway remembers for a connection.
const LARGE: Case = Case { users: 40, lost: 100, ..SMALL };

async fn an_older_snapshot_is_completed_for_clients_that_were_away(
    context: &Context,
) -> anyhow::Result<()> {
    run(context, 1, "older snapshot", LARGE).await
}

/// After an upgrade, a power failure takes Redis and the workers: its snapshot has no watermarks.
async fn a_snapshot_without_watermarks_is_completed_for_clients_that_resume_without_a_worker(
    context: &Context,
) -> anyhow::Result<()> {
    let (loss, meanwhile) = (Loss::BeforeWatermarks, Meanwhile::WorkersDown);
    run(context, 1, "snapshot without watermarks", Case { loss, meanwhile, ..SMALL }).await
}

async fn a_redis_that_comes_back_empty_before_the_workers_start_notifies_no_connected_client_twice(
    context: &Context,
) -> anyhow::Result<()> {
    let (loss, meanwhile) = (Loss::EmptyRestart, Meanwhile::WorkersDown);
    run(context, 1, "empty restart without workers", Case { loss, meanwhile, ..SMALL }).await
}

async fn a_redis_that_comes_back_empty_gets_its_histories_back(
    context: &Context,
) -> anyhow::Result<()> {
    run(context, 1, "empty restart", Case { loss: Loss::EmptyRestart, ..SMALL }).await
}

async fn a_flush_is_repaired_without_notifying_connected_clients(
    context: &Context,
) -> anyhow::Result<()> {
    run(context, 1, "flush", Case { loss: Loss::Flush, ..SMALL }).await
}

async fn a_worker_that_is_killed_while_it_restores_is_completed_by_the_next(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_broker(&layout()).await?;
    let case = Case { meanwhile: Meanwhile::WorkerKilled, ..LARGE };
    case.run(&mut stack, "worker killed").await?;
    let rewinds =
        stack.workers[0].metric(r#"ingest_worker_rewinds_total{reason="behind"}"#).await?;
    ensure!(rewinds > 0.0, "the killed worker had restored everything");
    stack.shut_down_and_check_logs().await
}

async fn a_rebalance_while_workers_restore_loses_and_repeats_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    run(context, 2, "rebalance", Case { meanwhile: Meanwhile::WorkerAdded, ..LARGE }).await
}

/// Histories are rebuilt from the beginning of the scenario, on a broker without other records.
fn layout() -> Layout {
    Layout { worker_settings: vec![("REWIND_LIMIT", "1h".to_owned())], ..Layout::default() }
}

async fn run(context: &Context, workers: usize, name: &str, case: Case) -> anyhow::Result<()> {
    let mut stack = context.own_broker(&Layout { workers, ..layout() }).await?;
    case.run(&mut stack, name).await?;
    stack.shut_down_and_check_logs().await
}

/// Redis does not write its log to the disk at once: what it wrote in the last second is gone.
async fn a_power_failure_that_takes_the_last_second_costs_no_event(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_broker(&layout()).await?;
    let times = RunProfile::current().pick(1, 10);
    lose_under_load(stack, "power failure", times, async |load| {
        let on_disk = load.stack.redis.log_bytes()?;
        load.events.wait_for_sent(100).await?;
        let stored = positions(load).await?;
        load.stack.redis.kill().await?;
        load.stack.redis.truncate_log(on_disk)?;
        load.stack.redis.restart().await?;
        Ok(stored)
    })
    .await
}

async fn a_flush_under_load_costs_no_event_and_notifies_no_connected_client_twice(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_broker(&layout()).await?;
    let times = RunProfile::current().pick(1, 10);
    lose_under_load(stack, "flush under load", times, async |load| {
        let stored = positions(load).await?;
        let mut redis = load.stack.redis.connection().await?;
        cmd("FLUSHALL").exec_async(&mut redis).await?;
        load.events.wait_for_sent(100).await?;
        Ok(stored)
    })
    .await
}

/// Events arrive while histories are rebuilt, which are lost before that has ended.
async fn flushes_in_a_row_under_load_publish_no_event_again(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_broker(&Layout { workers: 2, ..layout() }).await?;
    let published = Publications::count(&stack).await?;
    let mut users: Vec<User> = (0..80).map(|_| User::fresh()).collect();
    case::send(&stack, &mut users, 100).await?;
    // What a partition that changes hands has not committed is published again after a flush.
    wait_for_watermarks(&stack).await?;
    let mut load = UnderLoad::start(stack, "flushes in a row").await?;
    let mut redis = load.stack.redis.connection().await?;
    for flushes in 2..RunProfile::current().pick(4, 10) {
        for _ in 0..flushes {
            load.events.wait_for_sent(30).await?;
            cmd("FLUSHALL").exec_async(&mut redis).await?;
        }
        load.wait_for_recovery("flushed").await?;
        wait_until_rebuilt(&load.stack).await?;
    }
    load.events.stop_and_flush().await?;
    load.clients.violations(&load.stack).await?.ensure_none()?;
    for user in &users {
        user.restored(&load.stack).await?;
    }
    published.expect_each_once(&load.stack, users.len() * users[0].events.len()).await?;
    load.shut_down().await
}

/// Lets Redis lose data so many times while events arrive: `lose` returns the positions that it had
/// before. Then every connected client has each event once, and every history all of them.
pub(crate) async fn lose_under_load<R: RedisTopology>(
    stack: Stack<R>,
    name: &str,
    times: usize,
    lose: impl AsyncFn(&mut UnderLoad<R>) -> anyhow::Result<HashSet<String>>,
) -> anyhow::Result<()> {
    let mut load = UnderLoad::start(stack, name).await?;
    let mut stored = HashSet::new();
    for _ in 0..times {
        load.events.wait_for_sent(200).await?;
        stored.extend(lose(&mut load).await?);
        load.wait_for_recovery("data lost").await?;
    }
    load.events.wait_for_sent(200).await?;
    load.events.stop_and_flush().await?;
    load.clients.violations(&load.stack).await?.ensure_none()?;
    let (mut sent, mut restored) = (0, 0);
    for (user, events) in load.clients.sent() {
        let entries = case::history(&load.stack, &user, &events).await?;
        sent += events.len();
        restored += entries.iter().filter(|(_, is_restored)| *is_restored).count();
        for (position, _) in &entries {
            stored.remove(position);
        }
    }
    eprintln!(
        "{name}: sent {sent}, lost by Redis {}, restored {restored}, missing 0, twice 0",
        stored.len()
    );
    ensure!(!stored.is_empty(), "Redis has lost nothing");
    ensure!(restored > 0, "nothing was restored");
    load.shut_down().await
}

/// Returns the positions that Redis has.
async fn positions(load: &UnderLoad) -> anyhow::Result<HashSet<String>> {
    let mut positions = HashSet::new();
    for (user, _) in load.clients.sent() {
        let entries = load.stack.stream(&user).await?;
        positions.extend(entries.into_iter().map(|(position, _)| position));
    }
    Ok(positions)
}

/// The number of random losses on one broker: after each, everything that the broker has may be
/// read again.
const LOSSES_PER_BROKER: usize = 25;

async fn random_losses_are_restored(context: &Context) -> anyhow::Result<()> {
    let layout = Layout { workers: 2, ..layout() };
    let mut random = StdRng::seed_from_u64(seed("random losses"));
    let numbers: Vec<u32> = (1..=RunProfile::current().pick(3, 100)).collect();
    for numbers in numbers.chunks(LOSSES_PER_BROKER) {
        let mut stack = context.own_broker(&layout.clone().with_static_membership()).await?;
        for number in numbers {
            let case = random_case(&mut random);
            case.run(&mut stack, &format!("run {number}")).await?;
        }
        stack.shut_down_and_check_logs().await?;
    }
    Ok(())
}

fn random_case(random: &mut StdRng) -> Case {
    let losses = [Loss::OlderSnapshot, Loss::BeforeWatermarks, Loss::EmptyRestart, Loss::Flush];
    let meanwhile =
        [Meanwhile::Nothing, Meanwhile::WorkerKilled, Meanwhile::WorkersDown, Meanwhile::LostAgain];
    Case {
        users: random.random_range(2..20),
        kept: random.random_range(1..20),
        lost: random.random_range(1..100),
        loss: *losses.choose(random).unwrap_or(&Loss::Flush),
        meanwhile: *meanwhile.choose(random).unwrap_or(&Meanwhile::Nothing),
    }
}
