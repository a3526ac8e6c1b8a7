//! Events that name no user are parked until the owner of their batch is known. Meanwhile other
//! events of their partition are delivered, and offsets are not committed past them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    http::{metric, metric_sum},
    producer::{Producer, Record, header},
    stack::{Layout, Stack, TIMEOUT},
};
use jiff::{SignedDuration, Timestamp};
use rdkafka::Message as _;
use redis::cmd;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications, wait_for_dead_letters},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_thousand_parked_records_do_not_delay_others_of_their_partition,
    an_owner_key_of_a_wrong_type_delays_no_other_record_and_is_replaced,
    parked_records_survive_a_crash_and_a_rebalance,
    too_many_parked_records_pause_their_partition_and_none_is_lost,
    an_event_without_an_owner_is_dead_lettered_and_can_be_replayed,
    commands_name_the_brokers_that_do_not_answer,
    events_over_the_maximum_age_are_ignored_and_counted,
];

/// Events of one batch that name no user, all with one key.
pub(crate) fn events_without_user(owner: &str, count: usize) -> anyhow::Result<Vec<Event>> {
    let cases = events::deployed()?;
    let case = cases.iter().find(|case| case.name() == "batch_phase_outcome");
    let first = case.context("the fixtures have such an event")?.fresh(owner)?;
    let events = std::iter::repeat_with(|| {
        let mut event = first.clone();
        event.id = Uuid::new_v4().to_string();
        event.envelope["event_id"] = event.id.clone().into();
        event.notification["event_id"] = event.id.clone().into();
        event
    });
    Ok(events.take(count).collect())
}

/// An event that names its user, with this key.
fn event_with_user(user: &str, key: &str) -> anyhow::Result<Event> {
    let mut event = events_without_user(user, 1)?.remove(0);
    event.envelope["data"]["user_id"] = user.into();
    key.clone_into(&mut event.key);
    Ok(event)
}

/// A stack on which records stay parked for longer than a scenario lasts.
async fn stack_with_parking(context: &Context, limit: usize) -> anyhow::Result<Stack> {
    let worker_settings = vec![
        ("OWNER_WAIT", "5m".to_owned()),
        ("OWNER_WAIT_LIMIT", limit.to_string()),
        ("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "6000".to_owned()),
    ];
    context.own_stack(&Layout { worker_settings, ..Layout::default() }).await
}

/// Waits until at least so many records are parked and returns how many, on all workers together.
async fn wait_for_parked(stack: &Stack, expected: f64) -> anyhow::Result<f64> {
    eventually("the records are parked", TIMEOUT, async || {
        let mut parked = 0.0;
        for worker in &stack.workers {
            let page = worker.metrics().await?;
            parked += metric_sum(&page, "ingest_worker_parked_records");
        }
        ensure!(parked >= expected, "{parked} of {expected} records are parked");
        Ok(parked)
    })
    .await
}

/// Makes the owner known and checks that each event is delivered once.
async fn expect_delivery_once_owner_is_known(
    stack: &Stack,
    owner: &str,
    events: &[Event],
) -> anyhow::Result<()> {
    let mut clients = [stack.client(owner).await?];
    stack.producer.send(&events[0].registration()).await?;
    expect_notifications(&mut clients[0], events).await?;
    expect_no_further_frames(stack, owner, &mut clients).await
}

async fn a_thousand_parked_records_do_not_delay_others_of_their_partition(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_with_parking(context, 5_000).await?;
    let [owner, other] = [fresh_user(), fresh_user()];
    let parked = events_without_user(&owner, 1_000)?;
    stack.producer.send_all(&parked).await?;
    wait_for_parked(&stack, 1_000.0).await?;
    let mut client = stack.client(&other).await?;
    let mut latencies = Vec::new();
    for _ in 0..21 {
        let event = event_with_user(&other, &parked[0].key)?;
        let sent = Instant::now();
        stack.producer.send(&event).await?;
        expect_notifications(&mut client, &[event]).await?;
        latencies.push(sent.elapsed());
    }
    latencies.sort_unstable();
    let (median, max) = (latencies[10], latencies[20]);
    println!("latency with 1,000 parked records: median {median:?}, max {max:?}");
    ensure!(median < Duration::from_secs(1), "expected a median below 1 s, got {median:?}");
    wait_for_parked(&stack, 1_000.0).await?;
    expect_delivery_once_owner_is_known(&stack, &owner, &parked).await?;
    stack.shut_down_and_check_logs().await
}

/// A list where the owner of a batch belongs counts as no owner.
async fn an_owner_key_of_a_wrong_type_delays_no_other_record_and_is_replaced(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_with_parking(context, 5_000).await?;
    let [owner, other] = [fresh_user(), fresh_user()];
    let parked = events_without_user(&owner, 1)?;
    let key = format!("ws:owner:batch:{}", parked[0].key);
    cmd("RPUSH").arg(key).arg("x").exec_async(&mut stack.redis.connection().await?).await?;
    stack.producer.send_all(&parked).await?;
    wait_for_parked(&stack, 1.0).await?;
    let mut client = stack.client(&other).await?;
    let event = event_with_user(&other, &parked[0].key)?;
    stack.producer.send(&event).await?;
    expect_notifications(&mut client, &[event]).await?;
    let series = "ingest_worker_wrong_type_keys_total{key=\"owner\"}";
    ensure!(stack.workers[0].metric(series).await? >= 1.0, "the key is not counted");
    expect_delivery_once_owner_is_known(&stack, &owner, &parked).await?;
    stack.shut_down_and_check_logs().await
}

async fn parked_records_survive_a_crash_and_a_rebalance(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let mut stack = stack_with_parking(context, 5_000).await?;
    let owner = fresh_user();
    let parked = events_without_user(&owner, 50)?;
    stack.producer.send_all(&parked).await?;
    wait_for_parked(&stack, 50.0).await?;
    stack.workers[0].kill().await?;
    stack.workers[0].restart().await?;
    wait_for_parked(&stack, 50.0).await?;
    stack.start_another_worker().await?;
    expect_delivery_once_owner_is_known(&stack, &owner, &parked).await?;
    stack.shut_down_and_check_logs().await
}

async fn too_many_parked_records_pause_their_partition_and_none_is_lost(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_with_parking(context, 100).await?;
    // Few enough per owner that one socket takes them all at once.
    let owners: Vec<String> = (0..15).map(|_| fresh_user()).collect();
    let events = owners.iter().map(|owner| events_without_user(owner, 200));
    let mut events = events.collect::<anyhow::Result<Vec<_>>>()?;
    let key = events[0][0].key.clone();
    events.iter_mut().flatten().for_each(|event| event.key.clone_from(&key));
    stack.producer.send_all(&events.concat()).await?;
    let parked = wait_for_parked(&stack, 100.0).await?;
    // The limit and what had been fetched before the partition was paused.
    ensure!(parked < 1_500.0, "expected fewer than 1500 parked records, got {parked}");
    for (owner, events) in owners.iter().zip(&events) {
        expect_delivery_once_owner_is_known(&stack, owner, events).await?;
    }
    stack.shut_down_and_check_logs().await
}

async fn an_event_without_an_owner_is_dead_lettered_and_can_be_replayed(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("OWNER_WAIT", "1s".to_owned())];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let event = events_without_user(&user, 1)?.remove(0);
    stack.producer.send(&event).await?;
    let letters = wait_for_dead_letters(&stack, &[&event.key]).await?;
    let letter = &letters[&event.key];
    let reason = header(letter, "dlq.reason");
    ensure!(reason == Some("recipient_unknown"), "expected recipient_unknown, got {reason:?}");
    let position = format!("{}:{}", letter.partition(), letter.offset());
    expect_listed(&stack, &event, &position).await?;

    let run = async |arguments: &[&str], input: &str| {
        anyhow::Ok(stack.workers[0].run_command(arguments, input).await?.stdout)
    };
    let mut clients = [stack.client(&user).await?];
    stack.producer.send(&event.registration()).await?;
    let output = run(&["dead-letters", "replay", "--at", &position], "n\n").await?;
    let is_refused = output.contains("[y/N]") && !output.contains("sent");
    ensure!(is_refused, "expected a question and no replay, got {output}");
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    let replay = ["dead-letters", "replay", "--at", &position, "--yes"];
    let output = run(&replay, "").await?;
    ensure!(output.contains("1 sent"), "expected that one record is sent, got {output}");
    expect_notifications(&mut clients[0], std::slice::from_ref(&event)).await?;
    let repeated = stack.workers[0].command(&replay, &[], "").await?;
    let is_refused = repeated.code == Some(1) && repeated.stderr.contains("--again");
    ensure!(is_refused, "expected no second replay, got {repeated:?}");
    let dry_run = ["dead-letters", "replay", "--at", &position, "--again", "--dry-run"];
    let output = run(&dry_run, "").await?;
    ensure!(
        output.contains("1 dead letters") && !output.contains("sent"),
        "expected one letter, none sent, got {output}"
    );
    // Replayed again, the event is a duplicate: the next frame is that of a later event.
    let again = ["dead-letters", "replay", "--at", &position, "--again", "--yes"];
    let output = run(&again, "").await?;
    ensure!(output.contains("1 sent"), "expected that one record is sent, got {output}");
    let next = event_with_user(&user, &event.key)?;
    stack.producer.send(&next).await?;
    expect_notifications(&mut clients[0], &[next]).await?;
    stack.shut_down_and_check_logs().await
}

/// Checks that the command lists the dead letter under its reason only, without its content.
async fn expect_listed(stack: &Stack, event: &Event, position: &str) -> anyhow::Result<()> {
    let worker = &stack.workers[0];
    let list = worker.run_command(&["dead-letters", "list"], "").await?.stdout;
    let line = list.lines().find(|line| line.starts_with(&format!("{position}\t")));
    let line = line.with_context(|| format!("{position} is not in the list: {list}"))?;
    let is_complete = line.contains("recipient_unknown") && line.contains(&event.topic);
    ensure!(is_complete, "expected reason and topic, got {line}");
    ensure!(!list.contains(&event.key), "the list contains a record's key: {list}");
    let not_json = ["dead-letters", "list", "--reason", "not_json"];
    let others = worker.run_command(&not_json, "").await?.stdout;
    ensure!(!others.contains(line), "{line} is listed under not_json");
    Ok(())
}

async fn commands_name_the_brokers_that_do_not_answer(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let event = events::designed()?[0].fresh(&fresh_user())?;
    let skip = ["offsets", "skip", "--topic", &event.topic, "--partition", "0", "--to", "1"];
    for command in [&["dead-letters", "list"][..], &["dead-letters", "replay"], &skip] {
        let started = Instant::now();
        // Nothing listens on the discard port.
        let arguments = [&["--kafka-bootstrap-servers", "127.0.0.1:9"], command].concat();
        let result = stack.workers[0].run_command(&arguments, "").await;
        let error =
            result.err().with_context(|| format!("{command:?} succeeded without a broker"))?;
        let (error, elapsed) = (format!("{error:#}"), started.elapsed());
        ensure!(
            elapsed < Duration::from_secs(10),
            "expected {command:?} to fail within 10 s, took {elapsed:?}"
        );
        let is_expected = error.contains("exit status: 1") && error.contains("127.0.0.1:9");
        ensure!(is_expected, "expected exit code 1 and the brokers, got {error}");
    }
    Ok(())
}

async fn events_over_the_maximum_age_are_ignored_and_counted(
    context: &Context,
) -> anyhow::Result<()> {
    const OLD_EVENTS: u32 = 20;
    let topic = format!("history-{}", Uuid::new_v4().simple());
    let kafka = context.kafka().await?;
    kafka.create_topics(std::slice::from_ref(&topic)).await?;
    let (user, case) = (fresh_user(), &events::designed()?[14]);
    let old = case.fresh(&user)?;
    let (value, key) = (serde_json::to_vec(&old.envelope)?, Some(&*old.key));
    let yesterday = (Timestamp::now() - SignedDuration::from_hours(24)).as_millisecond();
    let producer = Producer::new(&kafka)?;
    for _ in 0..OLD_EVENTS {
        let (value, timestamp_ms) = (Some(&*value), Some(yesterday));
        let record = Record { topic: &topic, key, value, timestamp_ms, ..Record::default() };
        producer.send_record(record).await?;
    }
    let worker_settings =
        vec![("MAX_EVENT_AGE", "1h".to_owned()), ("CLASS_CREATED_TOPIC", topic.clone())];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let mut clients = [stack.client(&user).await?];
    let mut recent = case.fresh(&user)?;
    (recent.topic, recent.key) = (topic, old.key.clone());
    stack.producer.send(&recent).await?;
    expect_notifications(&mut clients[0], &[recent]).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    // A batch is counted after its events are published.
    eventually("the old events are counted", TIMEOUT, async || {
        let page = stack.workers[0].metrics().await?;
        let ignored = metric(&page, "ingest_worker_ignored_total{reason=\"too_old\"}");
        ensure!(ignored == Some(OLD_EVENTS.into()), "{ignored:?} of {OLD_EVENTS} are counted");
        Ok(())
    })
    .await?;
    stack.shut_down_and_check_logs().await
}
