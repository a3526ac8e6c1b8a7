//! What Kafka does: brokers that die or freeze, topics that are missing, records in every form
//! that a producer may give them.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    producer::{Producer, Record, read_topic},
    stack::{Layout, Stack, TIMEOUT},
};
use rdkafka::{Message as _, message::OwnedMessage};
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy},
    event_generator::EventGenerator,
};

use super::{PER_SECOND, RECOVERY_LIMIT, USERS, counted};
use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    run_profile::{RunProfile, seed},
    runner::scenarios,
};

scenarios![
    a_broker_that_freezes_or_dies_and_comes_back_costs_no_event,
    a_poison_record_waits_for_its_topic_and_holds_nobody_up_for_good,
    events_compressed_with_each_codec_arrive,
    events_of_aborted_transactions_are_not_told,
];

async fn a_broker_that_freezes_or_dies_and_comes_back_costs_no_event(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_broker(&Layout::default().with_static_membership()).await?;
    let fleet = ClientFleet::connect(&stack, &[(USERS, ReconnectPolicy::Never)]).await?;
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed("broker")).await?;
    // Long enough to be a member of the group again: a heartbeat takes three seconds to come.
    let between = RunProfile::current().pick(50, 400);
    for _ in 0..RunProfile::current().pick(1, 4) {
        generator.wait_for_sent(between).await?;
        stack.kafka.freeze(true).await?;
        generator.wait_for_sent(RunProfile::current().pick(200, 1_500)).await?;
        stack.kafka.freeze(false).await?;
        writes_again(&stack).await?;
        eprintln!("the broker was frozen: {}", fleet.wait_for_delivery(RECOVERY_LIMIT).await?);
        generator.wait_for_sent(between).await?;
        let away = async { generator.wait_for_sent(RunProfile::current().pick(100, 1_000)).await };
        stack.kafka.kill_and_restart_after(away).await?;
        writes_again(&stack).await?;
        eprintln!("the broker was killed: {}", fleet.wait_for_delivery(RECOVERY_LIMIT).await?);
    }
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

/// Waits for the end of the fault: a broker that was away for long enough to be given up by its
/// controller takes records only once it is known again.
async fn writes_again(stack: &Stack) -> anyhow::Result<()> {
    let record =
        Record { topic: &stack.dead_letter_topic, key: Some("probe"), ..Record::default() };
    Producer::new(&stack.kafka)?.send_record(record).await
}

async fn a_poison_record_waits_for_its_topic_and_holds_nobody_up_for_good(
    context: &Context,
) -> anyhow::Result<()> {
    let topic = format!("late-dead-letters-{}", uuid::Uuid::new_v4().simple());
    let worker_settings = vec![
        ("DEAD_LETTER_TOPIC", topic.clone()),
        ("KAFKA_PROPERTY_TOPIC_METADATA_REFRESH_INTERVAL_MS", "500".to_owned()),
    ];
    // A broker of its own: the poison of other scenarios would stop this worker from the start.
    let stack = context.own_broker(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let [before, mut after] = <[Event; 2]>::try_from(many(&user, 2)?).expect("they are two");
    // In the partition of the poison, behind it.
    after.key.clone_from(&before.key);
    let poison = Record {
        topic: &before.topic,
        key: Some(&before.key),
        value: Some(b"poison"),
        ..Record::default()
    };
    stack.producer.send(&before).await?;
    stack.producer.send_record(poison).await?;
    stack.producer.send(&after).await?;
    let retries = r#"ingest_worker_retries_total{system="kafka"}"#;
    eventually("the worker tries the missing topic", RECOVERY_LIMIT, async || {
        ensure!(counted(&stack.workers[0], retries).await? > 0.0, "it does not");
        Ok(())
    })
    .await?;
    stack.kafka.create_topics(std::slice::from_ref(&topic)).await?;
    let is_poison = |letter: &OwnedMessage| letter.payload() == Some(b"poison");
    let ended = |letters: &[OwnedMessage]| letters.iter().any(is_poison);
    read_topic(&stack.kafka, &topic, RECOVERY_LIMIT, ended).await?;
    for event in [&before, &after] {
        expect_notifications(&mut client, std::slice::from_ref(event)).await.context("in order")?;
    }
    expect_no_further_frames(&stack, &user, std::slice::from_mut(&mut client)).await?;
    drop(client);
    stack.shut_down_and_check_logs().await
}

async fn events_compressed_with_each_codec_arrive(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        // Many in a batch, as one event alone is left as it is.
        let properties = [("compression.type", codec), ("linger.ms", "50")];
        let producer = Producer::with(&stack.kafka, &properties)?;
        let events = many(&user, 100)?;
        producer.send_all(&events).await?;
        expect_notifications(&mut clients[0], &events).await.context(codec)?;
    }
    expect_no_further_frames(stack, &user, &mut clients).await
}

async fn events_of_aborted_transactions_are_not_told(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    let id = uuid::Uuid::new_v4().to_string();
    let producer = Producer::with(&stack.kafka, &[("transactional.id", &id)])?;
    producer.init_transactions().await?;
    let mut committed = Vec::new();
    for number in 0..6 {
        let (events, commit) = (many(&user, 5)?, number % 2 == 1);
        producer.transaction(&events, commit).await?;
        if commit {
            committed.extend(events);
        }
    }
    expect_notifications(&mut clients[0], &committed).await?;
    // Behind all transactions in every partition.
    let last = many(&user, 30)?;
    stack.producer.send_all(&last).await?;
    expect_notifications(&mut clients[0], &last).await?;
    tokio::time::timeout(TIMEOUT, expect_no_further_frames(stack, &user, &mut clients)).await?
}

fn many(user: &str, events: usize) -> anyhow::Result<Vec<Event>> {
    let case = &events::designed()?[0];
    (0..events).map(|_| case.fresh(user)).collect()
}
