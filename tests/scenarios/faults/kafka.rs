//! Faults of Kafka: a broker that freezes or is killed, and a dead-letter topic that is missing.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    eventually,
    producer::{Producer, Record, read_topic},
    stack::{Layout, Stack},
};
use rdkafka::{Message as _, message::OwnedMessage};
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    run_profile::RunProfile,
    runner::scenarios,
    under_load::{RECOVERY_TIMEOUT, UnderLoad},
};

scenarios![
    a_broker_that_freezes_or_is_killed_costs_no_event,
    a_record_waits_for_the_dead_letter_topic_and_the_next_is_delivered_in_order,
    a_subscribed_topic_that_is_created_later_is_consumed,
];

async fn a_broker_that_freezes_or_is_killed_costs_no_event(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_broker(&Layout::default().with_static_membership()).await?;
    let mut load = UnderLoad::start(stack, "broker").await?;
    // Heartbeats are 3 s apart: long enough to be a member of the group again.
    let between = RunProfile::current().pick(50, 400);
    for _ in 0..RunProfile::current().pick(1, 4) {
        load.events.wait_for_sent(between).await?;
        load.stack.kafka.freeze(true).await?;
        load.events.wait_for_sent(RunProfile::current().pick(200, 1_500)).await?;
        load.stack.kafka.freeze(false).await?;
        wait_until_writable(&load.stack).await?;
        load.wait_for_recovery_with_restarts("frozen").await?;
        load.events.wait_for_sent(between).await?;
        let events = RunProfile::current().pick(100, 1_000);
        let meanwhile = async { load.events.wait_for_sent(events).await };
        load.stack.kafka.kill_and_restart_after(meanwhile).await?;
        wait_until_writable(&load.stack).await?;
        load.wait_for_recovery_with_restarts("killed").await?;
    }
    load.finish().await
}

/// Waits until the broker accepts records: its controller fences a broker that was long unreachable,
/// and registers it again only after it has returned.
async fn wait_until_writable(stack: &Stack) -> anyhow::Result<()> {
    let record =
        Record { topic: &stack.dead_letter_topic, key: Some("probe"), ..Record::default() };
    Producer::new(&stack.kafka)?.send_record(record).await
}

async fn a_record_waits_for_the_dead_letter_topic_and_the_next_is_delivered_in_order(
    context: &Context,
) -> anyhow::Result<()> {
    let topic = format!("late-dead-letters-{}", Uuid::new_v4().simple());
    let worker_settings = vec![
        ("DEAD_LETTER_TOPIC", topic.clone()),
        ("KAFKA_PROPERTY_TOPIC_METADATA_REFRESH_INTERVAL_MS", "500".to_owned()),
    ];
    // On a shared broker the malformed records of other scenarios would need the topic first.
    let stack = context.own_broker(&Layout { worker_settings, ..Layout::default() }).await?;
    let (user, case) = (fresh_user(), &events::designed()?[0]);
    let mut clients = [stack.client(&user).await?];
    let (before, mut after) = (case.fresh(&user)?, case.fresh(&user)?);
    after.key.clone_from(&before.key);
    let (key, value) = (Some(&*before.key), Some(&b"malformed"[..]));
    let malformed = Record { topic: &before.topic, key, value, ..Record::default() };
    stack.producer.send(&before).await?;
    stack.producer.send_record(malformed).await?;
    stack.producer.send(&after).await?;
    let retries = r#"ingest_worker_retries_total{system="kafka"}"#;
    eventually("the worker retries the missing topic", RECOVERY_TIMEOUT, async || {
        ensure!(stack.workers[0].metric(retries).await? > 0.0, "no retry is counted");
        Ok(())
    })
    .await?;
    stack.kafka.create_topics(std::slice::from_ref(&topic)).await?;
    let is_ours = |letter: &OwnedMessage| letter.payload() == malformed.value;
    let complete = |letters: &[OwnedMessage]| letters.iter().any(is_ours);
    read_topic(&stack.kafka, &topic, RECOVERY_TIMEOUT, complete).await?;
    for event in [before, after] {
        expect_notifications(&mut clients[0], &[event]).await.context("in this order")?;
    }
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_subscribed_topic_that_is_created_later_is_consumed(
    context: &Context,
) -> anyhow::Result<()> {
    let topic = format!("renamed-{}", Uuid::new_v4().simple());
    let worker_settings = vec![
        ("BATCH_FILE_REMOVED_TOPIC", topic.clone()),
        ("KAFKA_PROPERTY_TOPIC_METADATA_REFRESH_INTERVAL_MS", "500".to_owned()),
    ];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    stack.kafka.create_topics(std::slice::from_ref(&topic)).await?;
    let mut event = events::designed()?[1].fresh(&user)?;
    event.topic = topic;
    stack.producer.send(&event).await?;
    expect_notifications(&mut client, &[event]).await?;
    stack.shut_down_and_check_logs().await
}
