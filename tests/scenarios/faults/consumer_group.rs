//! Workers that join and leave the consumer group, or freeze until the group removes them.

use anyhow::{bail, ensure};
use harness::{
    events, eventually,
    process::Signal,
    stack::{Layout, Stack},
};
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use support::event_generator::EventGenerator;

use crate::{
    context::Context,
    run_profile::RunProfile,
    runner::scenarios,
    under_load::{RECOVERY_TIMEOUT, UnderLoad},
};

scenarios![
    workers_that_restart_all_the_time_lose_and_duplicate_nothing,
    workers_with_the_consumer_group_protocol_lose_and_duplicate_nothing,
    a_static_member_resumes_its_partitions_at_once_after_a_restart,
    a_fenced_worker_exits_and_resumes_its_partitions_at_once_after_a_restart,
    a_worker_whose_instance_id_is_in_use_exits_until_the_broker_releases_it,
    a_worker_removed_from_the_group_commits_nothing_when_it_resumes,
];

/// The group removes a dead member soon, and finished offsets are committed at once, so that a
/// wrong commit has an effect.
fn layout(workers: usize) -> Layout {
    let worker_settings = vec![
        ("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "6000".to_owned()),
        ("KAFKA_PROPERTY_MAX_POLL_INTERVAL_MS", "6000".to_owned()),
        ("KAFKA_PROPERTY_HEARTBEAT_INTERVAL_MS", "500".to_owned()),
        ("KAFKA_PROPERTY_AUTO_COMMIT_INTERVAL_MS", "100".to_owned()),
    ];
    Layout { workers, worker_settings, ..Layout::default() }
}

async fn workers_that_restart_all_the_time_lose_and_duplicate_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    restart_workers(context.own_stack(&layout(3)).await?, "rebalances", 5).await
}

async fn workers_with_the_consumer_group_protocol_lose_and_duplicate_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let worker_settings = vec![
        ("KAFKA_PROPERTY_GROUP_PROTOCOL", "consumer".to_owned()),
        ("KAFKA_PROPERTY_AUTO_COMMIT_INTERVAL_MS", "100".to_owned()),
    ];
    let layout = Layout { workers: 3, worker_settings, ..Layout::default() };
    restart_workers(context.own_stack(&layout).await?, "consumer group protocol", 3).await
}

/// Stops and kills three workers one after the other, and checks delivery.
async fn restart_workers(stack: Stack, name: &str, rounds: usize) -> anyhow::Result<()> {
    let mut load = UnderLoad::start(stack, name).await?;
    for round in 0..RunProfile::current().pick(rounds, 60) {
        let worker = &mut load.stack.workers[round % 3];
        // Every third leaves without a LeaveGroup request.
        if round % 3 == 2 {
            worker.kill().await?;
        } else {
            worker.stop().await?;
        }
        load.events.wait_for_sent(50).await?;
        worker.restart().await?;
        load.events.wait_for_sent(50).await?;
    }
    // A killed member holds up the rebalance until its session times out.
    wait_for_assignment(&load.stack).await?;
    load.wait_for_recovery("the last rebalance").await?;
    load.finish().await
}

async fn a_static_member_resumes_its_partitions_at_once_after_a_restart(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let layout = Layout { workers: 2, ..Layout::default() }.with_static_membership();
    let mut load = UnderLoad::start(context.own_stack(&layout).await?, "static member").await?;
    for round in 0..RunProfile::current().pick(2, 10) {
        let worker = &mut load.stack.workers[round % 2];
        load.events.wait_for_sent(50).await?;
        if round % 2 == 0 {
            worker.kill().await?;
        } else {
            worker.stop().await?;
        }
        load.events.wait_for_sent(100).await?;
        worker.restart().await?;
        load.wait_for_recovery("restart").await?;
    }
    load.finish().await
}

/// Another client joins with the worker's `group.instance.id`, and the broker fences the worker.
async fn a_fenced_worker_exits_and_resumes_its_partitions_at_once_after_a_restart(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let layout = Layout::default().with_static_membership();
    let mut load = UnderLoad::start(context.own_stack(&layout).await?, "fenced worker").await?;
    for _ in 0..RunProfile::current().pick(1, 10) {
        load.events.wait_for_sent(50).await?;
        let (stack, worker) = (&load.stack, &load.stack.workers[0]);
        let mut client = stack.kafka.client_config();
        client
            .set("group.id", &stack.group)
            .set("group.instance.id", worker.name())
            .set("partition.assignment.strategy", "roundrobin")
            .set("enable.auto.commit", "false");
        let other_member: StreamConsumer = client.create()?;
        other_member.subscribe(&[&events::topics()?[0]])?;
        let status = tokio::select! {
            status = worker.wait_for_exit(RECOVERY_TIMEOUT) => status?,
            // Joins the group; its records are not committed.
            () = async { while other_member.recv().await.is_ok() {} } => {
                bail!("the other member failed")
            }
        };
        ensure!(status.code() == Some(1), "exited with {status}");
        let log = worker.log()?;
        ensure!(log.to_lowercase().contains("fenced"), "expected the reason in: {log}");
        drop(other_member);
        load.events.wait_for_sent(50).await?;
        load.stack.workers[0].restart().await?;
        load.wait_for_recovery("fenced and restarted").await?;
    }
    load.finish().await
}

/// The worker is killed and started again before its session times out.
async fn a_worker_whose_instance_id_is_in_use_exits_until_the_broker_releases_it(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let worker_settings = vec![
        ("KAFKA_PROPERTY_GROUP_PROTOCOL", "consumer".to_owned()),
        ("KAFKA_PROPERTY_GROUP_INSTANCE_ID", "worker".to_owned()),
    ];
    let layout = Layout { worker_settings, ..Layout::default() };
    let mut load = UnderLoad::start(context.own_stack(&layout).await?, "instance id").await?;
    load.events.wait_for_sent(50).await?;
    let worker = &mut load.stack.workers[0];
    worker.kill().await?;
    worker.start_again().await?;
    let status = worker.wait_for_exit(RECOVERY_TIMEOUT).await?;
    ensure!(status.code() == Some(1), "exited with {status}");
    let log = worker.log()?;
    ensure!(log.contains("UnreleasedInstanceId"), "expected the reason in: {log}");
    ensure!(!log.contains("partitions assigned"), "it joined before the broker's time-out: {log}");
    load.wait_for_recovery_with_restarts("instance id in use").await?;
    load.finish().await
}

async fn a_worker_removed_from_the_group_commits_nothing_when_it_resumes(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let mut load = UnderLoad::start(context.own_stack(&layout(2)).await?, "removed member").await?;
    for _ in 0..RunProfile::current().pick(1, 8) {
        load.events.wait_for_sent(100).await?;
        load.stack.workers[0].signal(Signal::STOP)?;
        load.events.wait_for_sent(200).await?;
        // After the session time-out the other worker has the partitions.
        load.wait_for_recovery("a frozen worker").await?;
        load.stack.workers[0].signal(Signal::CONT)?;
        expect_no_offset_to_decrease(&load.stack, &mut load.events).await?;
        wait_for_assignment(&load.stack).await?;
    }
    load.finish().await
}

/// Checks, while events flow, that no partition's committed offset decreases.
async fn expect_no_offset_to_decrease(
    stack: &Stack,
    events: &mut EventGenerator,
) -> anyhow::Result<()> {
    let mut before = stack.kafka.committed(&stack.group).await?;
    for _ in 0..10 {
        events.wait_for_sent(20).await?;
        let now = stack.kafka.committed(&stack.group).await?;
        let decreased = before.iter().find(|(partition, offset)| now.get(partition) < Some(offset));
        ensure!(decreased.is_none(), "offset decreased from {decreased:?}, now {now:?}");
        before = now;
    }
    Ok(())
}

/// Waits until each worker has partitions.
async fn wait_for_assignment(stack: &Stack) -> anyhow::Result<()> {
    eventually("each worker has partitions", RECOVERY_TIMEOUT, async || {
        for worker in &stack.workers {
            let partitions = worker.metric("ingest_worker_assigned_partitions").await?;
            ensure!(partitions > 0.0, "{} has none", worker.name());
        }
        Ok(())
    })
    .await
}
