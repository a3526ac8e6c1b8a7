//! Workers that come and go, or stand still until the group has given them up.

use anyhow::ensure;
use harness::{
    eventually,
    process::Signal,
    stack::{Layout, Stack},
};
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy},
    event_generator::EventGenerator,
};

use super::{PER_SECOND, RECOVERY_LIMIT, USERS};
use crate::{
    context::Context,
    run_profile::{RunProfile, seed},
    runner::scenarios,
};

scenarios![
    workers_that_come_and_go_all_the_time_lose_and_repeat_nothing,
    a_worker_known_by_name_has_its_place_again_at_once,
    a_worker_that_was_given_up_commits_nothing_when_it_goes_on,
];

/// A dead worker is noticed soon, and what is finished is committed at once, so that a wrong
/// commit shows.
fn layout(workers: usize) -> Layout {
    let worker_settings = vec![
        ("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "6000".to_owned()),
        ("KAFKA_PROPERTY_MAX_POLL_INTERVAL_MS", "6000".to_owned()),
        ("KAFKA_PROPERTY_HEARTBEAT_INTERVAL_MS", "500".to_owned()),
        ("KAFKA_PROPERTY_AUTO_COMMIT_INTERVAL_MS", "100".to_owned()),
    ];
    Layout { workers, worker_settings, ..Layout::default() }
}

async fn workers_that_come_and_go_all_the_time_lose_and_repeat_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let mut stack = context.own_stack(&layout(3)).await?;
    let fleet = ClientFleet::connect(&stack, &[(USERS, ReconnectPolicy::Never)]).await?;
    let mut generator =
        EventGenerator::start(&stack, &fleet, PER_SECOND, seed("rebalances")).await?;
    for round in 0..RunProfile::current().pick(5, 60) {
        let worker = &mut stack.workers[round % 3];
        // Every third leaves without a word.
        if round % 3 == 2 {
            worker.kill().await?;
        } else {
            worker.stop().await?;
        }
        generator.wait_for_sent(50).await?;
        worker.restart().await?;
        generator.wait_for_sent(50).await?;
    }
    generator.stop_and_flush().await?;
    // The group waits for one that left without a word until it gives it up.
    all_take_part(&stack).await?;
    eprintln!("after the last rebalance: {}", fleet.wait_for_delivery(RECOVERY_LIMIT).await?);
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

async fn a_worker_known_by_name_has_its_place_again_at_once(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let layout = Layout { workers: 2, ..Layout::default() }.with_static_membership();
    let mut stack = context.own_stack(&layout).await?;
    let fleet = ClientFleet::connect(&stack, &[(USERS, ReconnectPolicy::Never)]).await?;
    let mut generator =
        EventGenerator::start(&stack, &fleet, PER_SECOND, seed("named worker")).await?;
    for round in 0..RunProfile::current().pick(2, 10) {
        let worker = &mut stack.workers[round % 2];
        generator.wait_for_sent(50).await?;
        if round % 2 == 0 {
            worker.kill().await?;
        } else {
            worker.stop().await?;
        }
        generator.wait_for_sent(100).await?;
        worker.restart().await?;
        eprintln!("a worker is back: {}", fleet.wait_for_delivery(RECOVERY_LIMIT).await?);
    }
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

async fn a_worker_that_was_given_up_commits_nothing_when_it_goes_on(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let stack = context.own_stack(&layout(2)).await?;
    let fleet = ClientFleet::connect(&stack, &[(USERS, ReconnectPolicy::Never)]).await?;
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed("zombie")).await?;
    for _ in 0..RunProfile::current().pick(1, 8) {
        generator.wait_for_sent(100).await?;
        stack.workers[0].signal(Signal::STOP)?;
        generator.wait_for_sent(200).await?;
        // It takes the session time-out until the other has its partitions.
        fleet.wait_for_delivery(RECOVERY_LIMIT).await?;
        stack.workers[0].signal(Signal::CONT)?;
        never_goes_back(&stack, &mut generator).await?;
        all_take_part(&stack).await?;
    }
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

/// Checks, while events are sent, that no partition's committed offset becomes smaller.
async fn never_goes_back(stack: &Stack, generator: &mut EventGenerator) -> anyhow::Result<()> {
    let mut before = stack.kafka.committed(&stack.group).await?;
    for _ in 0..10 {
        generator.wait_for_sent(20).await?;
        let now = stack.kafka.committed(&stack.group).await?;
        let back = before.iter().find(|(partition, offset)| now.get(partition) < Some(offset));
        ensure!(back.is_none(), "{back:?} became {:?}", back.and_then(|(at, _)| now.get(at)));
        before = now;
    }
    Ok(())
}

/// Waits until each worker has partitions.
async fn all_take_part(stack: &Stack) -> anyhow::Result<()> {
    eventually("each worker has partitions", RECOVERY_LIMIT, async || {
        for worker in &stack.workers {
            let partitions = super::counted(worker, "ingest_worker_assigned_partitions").await?;
            ensure!(partitions > 0.0, "one has none");
        }
        Ok(())
    })
    .await
}
