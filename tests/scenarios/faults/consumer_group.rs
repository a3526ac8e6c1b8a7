//! Workers that come and go, or stand still until the group has given them up.

use anyhow::ensure;
use harness::{
    eventually,
    process::Signal,
    stack::{Layout, Stack},
};
use support::{
    audience::{Audience, Manner},
    flow::Flow,
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
    let audience = Audience::gather(&stack, &[(USERS, Manner::Stays)]).await?;
    let mut flow = Flow::start(&stack, &audience, PER_SECOND, seed("rebalances")).await?;
    for round in 0..RunProfile::current().pick(5, 60) {
        let worker = &mut stack.workers[round % 3];
        // Every third leaves without a word.
        if round % 3 == 2 {
            worker.kill().await?;
        } else {
            worker.stop().await?;
        }
        flow.more(50).await?;
        worker.restart().await?;
        flow.more(50).await?;
    }
    flow.stop().await?;
    // The group waits for one that left without a word until it gives it up.
    all_take_part(&stack).await?;
    eprintln!("after the last rebalance: {}", audience.repaired(RECOVERY_LIMIT).await?);
    audience.judge(&stack).await?;
    drop(audience);
    stack.stop().await
}

async fn a_worker_known_by_name_has_its_place_again_at_once(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let layout = Layout { workers: 2, ..Layout::default() }.with_named_workers();
    let mut stack = context.own_stack(&layout).await?;
    let audience = Audience::gather(&stack, &[(USERS, Manner::Stays)]).await?;
    let mut flow = Flow::start(&stack, &audience, PER_SECOND, seed("named worker")).await?;
    for round in 0..RunProfile::current().pick(2, 10) {
        let worker = &mut stack.workers[round % 2];
        flow.more(50).await?;
        if round % 2 == 0 {
            worker.kill().await?;
        } else {
            worker.stop().await?;
        }
        flow.more(100).await?;
        worker.restart().await?;
        eprintln!("a worker is back: {}", audience.repaired(RECOVERY_LIMIT).await?);
    }
    flow.stop().await?;
    audience.judge(&stack).await?;
    drop(audience);
    stack.stop().await
}

async fn a_worker_that_was_given_up_commits_nothing_when_it_goes_on(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let stack = context.own_stack(&layout(2)).await?;
    let audience = Audience::gather(&stack, &[(USERS, Manner::Stays)]).await?;
    let mut flow = Flow::start(&stack, &audience, PER_SECOND, seed("zombie")).await?;
    for _ in 0..RunProfile::current().pick(1, 8) {
        flow.more(100).await?;
        stack.workers[0].signal(Signal::STOP)?;
        flow.more(200).await?;
        // It takes the session time-out until the other has its partitions.
        audience.repaired(RECOVERY_LIMIT).await?;
        stack.workers[0].signal(Signal::CONT)?;
        never_goes_back(&stack, &mut flow).await?;
        all_take_part(&stack).await?;
    }
    flow.stop().await?;
    audience.judge(&stack).await?;
    drop(audience);
    stack.stop().await
}

/// Checks, while events flow, that no partition's committed offset becomes smaller.
async fn never_goes_back(stack: &Stack, flow: &mut Flow) -> anyhow::Result<()> {
    let mut before = stack.kafka.committed(&stack.group).await?;
    for _ in 0..10 {
        flow.more(20).await?;
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
