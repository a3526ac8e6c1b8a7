//! Events that name no user wait until it is known who owns their batch.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    http::metric,
    producer::{Record, header, read_topic},
    stack::{Layout, Stack, TIMEOUT},
};
use rdkafka::{Message as _, message::OwnedMessage};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_thousand_waiting_events_do_not_delay_others_of_their_partition,
    waiting_events_survive_a_crash_and_a_rebalance,
    too_many_waiting_events_pause_their_partition_and_none_is_lost,
    an_event_without_an_owner_is_dead_lettered_and_can_be_replayed,
    old_events_are_skipped_and_their_number_is_told,
];

/// Events of one batch that name no user, all with one key.
pub(crate) fn nameless(user: &str, count: usize) -> anyhow::Result<Vec<Event>> {
    let cases = events::deployed()?;
    let case = cases.iter().find(|case| case.name() == "batch_phase_outcome");
    let first = case.context("there is such an event")?.fresh(user)?;
    let another = |_| {
        let mut event = first.clone();
        event.id = Uuid::new_v4().to_string();
        event.envelope["event_id"] = event.id.clone().into();
        event.notification["event_id"] = event.id.clone().into();
        event
    };
    Ok((0..count).map(another).collect())
}

/// A stack whose events wait long enough for a scenario.
async fn patient_stack(context: &Context, limit: usize) -> anyhow::Result<Stack> {
    let worker_settings = vec![
        ("OWNER_WAIT", "5m".to_owned()),
        ("OWNER_WAIT_LIMIT", limit.to_string()),
        ("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "6000".to_owned()),
    ];
    context.own_stack(&Layout { worker_settings, ..Layout::default() }).await
}

/// Waits until so many events wait, on all workers together.
async fn waiting(stack: &Stack, count: f64) -> anyhow::Result<()> {
    eventually("the events wait", TIMEOUT, async || {
        let mut waiting = 0.0;
        for worker in &stack.workers {
            let page = worker.metrics().await?;
            waiting += metric(&page, "ingest_worker_parked_records").context("a gauge")?;
        }
        ensure!(waiting >= count, "{waiting} do");
        Ok(())
    })
    .await
}

async fn a_thousand_waiting_events_do_not_delay_others_of_their_partition(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = patient_stack(context, 5_000).await?;
    let [owner, other] = [fresh_user(), fresh_user()];
    let wait = nameless(&owner, 1_000)?;
    stack.producer.send_all(&wait).await?;
    waiting(&stack, 1_000.0).await?;
    let mut client = stack.client(&other).await?;
    let mut delays = Vec::new();
    for _ in 0..21 {
        let mut event = nameless(&other, 1)?.remove(0);
        event.envelope["data"]["user_id"] = other.clone().into();
        event.key.clone_from(&wait[0].key);
        let sent = Instant::now();
        stack.producer.send(&event).await?;
        expect_notifications(&mut client, &[event]).await?;
        delays.push(sent.elapsed());
    }
    delays.sort_unstable();
    println!("beside 1,000 waiting events: median {:?}, max {:?}", delays[10], delays[20]);
    ensure!(delays[10] < Duration::from_secs(1), "an event took {:?}", delays[10]);
    waiting(&stack, 1_000.0).await?;
    let mut clients = [stack.client(&owner).await?];
    stack.producer.send(&wait[0].registration()).await?;
    expect_notifications(&mut clients[0], &wait).await?;
    expect_no_further_frames(&stack, &owner, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn waiting_events_survive_a_crash_and_a_rebalance(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let mut stack = patient_stack(context, 5_000).await?;
    let user = fresh_user();
    let wait = nameless(&user, 50)?;
    stack.producer.send_all(&wait).await?;
    waiting(&stack, 50.0).await?;
    stack.workers[0].kill().await?;
    stack.workers[0].restart().await?;
    waiting(&stack, 50.0).await?;
    stack.start_another_worker().await?;
    let mut clients = [stack.client(&user).await?];
    stack.producer.send(&wait[0].registration()).await?;
    expect_notifications(&mut clients[0], &wait).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn too_many_waiting_events_pause_their_partition_and_none_is_lost(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = patient_stack(context, 100).await?;
    let user = fresh_user();
    let wait = nameless(&user, 3_000)?;
    stack.producer.send_all(&wait).await?;
    waiting(&stack, 100.0).await?;
    let page = stack.workers[0].metrics().await?;
    let waiting = metric(&page, "ingest_worker_parked_records").context("a gauge")?;
    ensure!(waiting < 1_500.0, "{waiting} wait where 100 and what is under way may");
    let mut clients = [stack.client(&user).await?];
    stack.producer.send(&wait[0].registration()).await?;
    expect_notifications(&mut clients[0], &wait).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn an_event_without_an_owner_is_dead_lettered_and_can_be_replayed(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("OWNER_WAIT", "1s".to_owned())];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let (user, worker) = (fresh_user(), &stack.workers[0]);
    let event = nameless(&user, 1)?.remove(0);
    stack.producer.send(&event).await?;
    // Other scenarios' records are on the same topics, and end here as well.
    let ours = |letter: &&OwnedMessage| letter.key() == Some(event.key.as_bytes());
    let arrived = |letters: &[OwnedMessage]| letters.iter().any(|letter| ours(&letter));
    let letters = read_topic(&stack.kafka, &stack.dead_letter_topic, TIMEOUT, arrived).await?;
    let letter = letters.iter().find(ours).context("it has just been there")?;
    ensure!(header(letter, "dlq.reason") == Some("recipient_unknown"), "{letter:?}");
    let at = format!("{}:{}", letter.partition(), letter.offset());
    let listed = worker.run_command(&["dead-letters", "list"], "").await?.stdout;
    let line = listed.lines().find(|line| line.starts_with(&format!("{at}\t")));
    let line = line.with_context(|| format!("{at} is not listed"))?;
    ensure!(line.contains("recipient_unknown") && line.contains(&event.topic), "{line}");
    ensure!(!listed.contains(&event.key), "what the record says is shown");
    let others =
        worker.run_command(&["dead-letters", "list", "--reason", "not_json"], "").await?.stdout;
    ensure!(!others.contains(line), "{line} is listed as not_json");

    let mut clients = [stack.client(&user).await?];
    stack.producer.send(&event.registration()).await?;
    let refused = worker.run_command(&["dead-letters", "replay", "--at", &at], "n\n").await?.stdout;
    ensure!(refused.contains("[y/N]") && !refused.contains("sent"), "{refused}");
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    let replay = ["dead-letters", "replay", "--at", &at, "--yes"];
    let sent = worker.run_command(&replay, "").await?.stdout;
    ensure!(sent.contains("1 sent"), "{sent}");
    expect_notifications(&mut clients[0], std::slice::from_ref(&event)).await?;
    // Once more: it has been told, and is not told again.
    worker.run_command(&replay, "").await?;
    let mut next = nameless(&user, 1)?.remove(0);
    next.envelope["data"]["user_id"] = user.clone().into();
    next.key.clone_from(&event.key);
    stack.producer.send(&next).await?;
    expect_notifications(&mut clients[0], &[next]).await?;
    stack.shut_down_and_check_logs().await
}

async fn old_events_are_skipped_and_their_number_is_told(context: &Context) -> anyhow::Result<()> {
    let topic = format!("history-{}", Uuid::new_v4().simple());
    let kafka = context.kafka().await?;
    kafka.create_topics(std::slice::from_ref(&topic)).await?;
    let worker_settings =
        vec![("MAX_EVENT_AGE", "1h".to_owned()), ("CLASS_CREATED_TOPIC", topic.clone())];
    let user = fresh_user();
    let producer = harness::producer::Producer::new(&kafka)?;
    let event = events::designed()?[14].fresh(&user)?;
    let (value, key) = (serde_json::to_vec(&event.envelope)?, Some(&*event.key));
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    for _ in 0..20 {
        let timestamp_ms = Some(yesterday.as_millisecond());
        let value = Some(&*value);
        let record = Record { topic: &topic, key, value, timestamp_ms, ..Record::default() };
        producer.send_record(record).await?;
    }
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let mut clients = [stack.client(&user).await?];
    let mut news = events::designed()?[14].fresh(&user)?;
    (news.topic, news.key) = (topic, event.key.clone());
    stack.producer.send(&news).await?;
    expect_notifications(&mut clients[0], &[news]).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    // What is told may have been read with what is skipped, and all are counted after it is told.
    eventually("those that were skipped are counted", TIMEOUT, async || {
        let page = stack.workers[0].metrics().await?;
        let skipped = metric(&page, "ingest_worker_ignored_total{reason=\"too_old\"}");
        ensure!(skipped == Some(20.0), "{skipped:?} of 20 skipped");
        Ok(())
    })
    .await?;
    stack.shut_down_and_check_logs().await
}
