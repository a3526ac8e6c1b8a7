//! Faults of Kafka: a broker that freezes or is killed, and a dead-letter topic that is missing.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    eventually,
    process::Signal,
    producer::{Producer, Record, read_topic},
    stack::{Layout, Stack},
};
use rdkafka::{Message as _, message::OwnedMessage};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications, wait_for_published},
    context::Context,
    run_profile::RunProfile,
    runner::scenarios,
    under_load::{RECOVERY_TIMEOUT, UnderLoad},
};

scenarios![
    a_broker_that_freezes_or_is_killed_costs_no_event,
    a_record_waits_for_its_dead_letter_topic_and_the_next_is_delivered,
    a_subscribed_topic_that_is_created_later_is_consumed,
    a_subscribed_topic_that_is_created_again_is_consumed_from_its_beginning,
    a_topic_that_is_created_again_after_its_leader_was_elected_anew_is_consumed,
    a_dead_letter_topic_that_is_created_again_is_written_to,
];

async fn a_broker_that_freezes_or_is_killed_costs_no_event(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_broker(&Layout::default().with_static_membership()).await?;
    let mut load = UnderLoad::start(stack, "broker").await?;
    // Heartbeats are 3 s apart: long enough to be a member of the group again.
    let between = RunProfile::current().pick(50, 400);
    // The first one outlasts the sessions of all members and of the broker itself.
    for frozen in RunProfile::current().pick(vec![200], vec![7_000, 1_500, 1_500, 1_500]) {
        load.events.wait_for_sent(between).await?;
        load.stack.kafka.freeze(true).await?;
        load.events.wait_for_sent(frozen).await?;
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

/// Waits until the broker accepts records: its controller fences a broker that was long
/// unreachable, and registers it again only after it has returned.
async fn wait_until_writable(stack: &Stack) -> anyhow::Result<()> {
    let record =
        Record { topic: &stack.dead_letter_topic, key: Some("probe"), ..Record::default() };
    Producer::new(&stack.kafka)?.send_record(record).await
}

async fn a_record_waits_for_its_dead_letter_topic_and_the_next_is_delivered(
    context: &Context,
) -> anyhow::Result<()> {
    let topic = format!("late-dead-letters-{}", Uuid::new_v4().simple());
    let worker_settings = vec![
        ("DEAD_LETTER_TOPIC", topic.clone()),
        ("KAFKA_PROPERTY_TOPIC_METADATA_REFRESH_INTERVAL_MS", "500".to_owned()),
    ];
    // On a shared broker the malformed records of other scenarios would need the topic first.
    let mut stack = context.own_broker(&Layout { worker_settings, ..Layout::default() }).await?;
    let (user, case) = (fresh_user(), &events::designed()?[0]);
    let mut clients = [stack.client(&user).await?];
    let (before, after) = (case.fresh(&user)?, case.fresh(&user)?);
    let value = Some(&b"malformed"[..]);
    let partition = Some(0);
    let malformed = Record { topic: &before.topic, value, partition, ..Record::default() };
    stack.producer.send_to(0, &before).await?;
    stack.producer.send_record(malformed).await?;
    stack.producer.send_to(0, &after).await?;
    for event in [before, after] {
        expect_notifications(&mut clients[0], &[event]).await.context("in this order")?;
    }
    expect_parked_dead_letters(&stack, 1.0).await?;
    let errors = stack.workers[0].log()?.matches("dead letters cannot be written").count();
    ensure!(errors == 1, "expected one error, got {errors}");
    // The offset of the record was not committed: it is read again.
    stack.workers[0].stop().await?;
    stack.workers[0].restart().await?;
    expect_parked_dead_letters(&stack, 1.0).await?;
    stack.kafka.create_topics(std::slice::from_ref(&topic)).await?;
    let is_ours = |letter: &OwnedMessage| letter.payload() == value;
    let complete = |letters: &[OwnedMessage]| letters.iter().any(is_ours);
    read_topic(&stack.kafka, &topic, RECOVERY_TIMEOUT, complete).await?;
    expect_parked_dead_letters(&stack, 0.0).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

/// Waits until so many dead letters are parked because they could not be written.
async fn expect_parked_dead_letters(stack: &Stack, count: f64) -> anyhow::Result<()> {
    let parked = r#"ingest_worker_parked_records{reason="dead_letter_refused"}"#;
    eventually("the dead letters are parked or written", RECOVERY_TIMEOUT, async || {
        let value = stack.workers[0].metric(parked).await?;
        ensure!((value - count).abs() < 0.5, "expected {count}, got {value}");
        Ok(())
    })
    .await
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

async fn a_subscribed_topic_that_is_created_again_is_consumed_from_its_beginning(
    context: &Context,
) -> anyhow::Result<()> {
    let topic = format!("renamed-{}", Uuid::new_v4().simple());
    let worker_settings = vec![("BATCH_FILE_REMOVED_TOPIC", topic.clone())];
    context.durable_kafka().await?.create_topics(std::slice::from_ref(&topic)).await?;
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    // Fewer events than before, then more: the former offset is above the end, then below it.
    let mut published = 0;
    for count in [8, 2, 6] {
        published += count;
        let mut batch = Vec::new();
        for _ in 0..count {
            let mut event = events::designed()?[1].fresh(&user)?;
            (event.topic, event.key) = (topic.clone(), "one partition".into());
            batch.push(event);
        }
        stack.producer.send_all(&batch).await?;
        let sent = Instant::now();
        stack.workers[0].signal(Signal::CONT)?;
        wait_for_published(&stack, &user, published).await?;
        expect_notifications(&mut clients[0], &batch).await?;
        println!("{count} events of a recreated topic: delivered after {:?}", sent.elapsed());
        // Suspended, so that it fetches next when the new events are there.
        stack.workers[0].signal(Signal::STOP)?;
        stack.kafka.create_again(&topic).await?;
    }
    stack.workers[0].signal(Signal::CONT)?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

/// The leader epochs of a new topic begin at 0, and librdkafka ignores leaders with a lower epoch
/// than it knows.
async fn a_topic_that_is_created_again_after_its_leader_was_elected_anew_is_consumed(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_broker(&Layout::default()).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    let event = &events::designed()?[1];
    stack.kafka.kill_and_restart_after(async { Ok(()) }).await?;
    wait_until_writable(&stack).await?;
    let before = event.fresh(&user)?;
    stack.producer.send(&before).await?;
    expect_notifications(&mut clients[0], &[before]).await?;
    // Suspended, as a client that sees the topic missing forgets its leader epochs.
    stack.workers[0].signal(Signal::STOP)?;
    stack.kafka.create_again(&event.topic).await?;
    stack.workers[0].signal(Signal::CONT)?;
    let created = Instant::now();
    let after = [event.fresh(&user)?, event.fresh(&user)?];
    Producer::new(&stack.kafka)?.send_all(&after).await?;
    let worker = &mut stack.workers[0];
    let status = worker.wait_for_exit(RECOVERY_TIMEOUT).await?;
    ensure!(status.code() == Some(1), "exited with {status}");
    worker.start_again().await?;
    expect_notifications(&mut clients[0], &after).await?;
    println!("topic created again after an election: consumed after {:?}", created.elapsed());
    let lost = stack.workers[0].metric(r#"ingest_worker_rewinds_total{reason="missing"}"#).await?;
    ensure!(lost < 0.5, "counted as {lost} losses of Redis");
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_dead_letter_topic_that_is_created_again_is_written_to(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_broker(&Layout::default()).await?;
    let topic = &events::designed()?[0].fresh(&fresh_user())?.topic;
    for value in [&b"first"[..], b"second", b"third"] {
        let record = Record { topic, value: Some(value), ..Record::default() };
        stack.producer.send_record(record).await?;
        let sent = Instant::now();
        let is_ours = |letter: &OwnedMessage| letter.payload() == Some(value);
        let complete = |letters: &[OwnedMessage]| letters.iter().any(is_ours);
        read_topic(&stack.kafka, &stack.dead_letter_topic, RECOVERY_TIMEOUT, complete).await?;
        println!("dead letter to a recreated topic: written after {:?}", sent.elapsed());
        stack.kafka.create_again(&stack.dead_letter_topic).await?;
    }
    stack.shut_down_and_check_logs().await
}
