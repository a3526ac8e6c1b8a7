//! Committed offsets that the broker no longer has, and consumer lag behind the last record.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    http::metric,
    producer::{Producer, Record},
    stack::{Layout, Stack, TIMEOUT},
};
use jiff::{SignedDuration, Timestamp};
use redis::cmd;
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    records_deleted_before_they_were_read_are_counted_and_logged,
    after_a_rewind_nothing_older_than_its_claim_is_published_again,
    a_topic_that_ends_in_a_transaction_marker_has_no_lag,
];

/// The lag is measured every few seconds, after the client's statistics have arrived.
const LAG_TIMEOUT: Duration = Duration::from_mins(1);

/// The counter of old events that are ignored.
const TOO_OLD: &str = "ingest_worker_ignored_total{reason=\"too_old\"}";

/// Waits until a counter of the first worker has reached a value.
async fn wait_for_counter(stack: &Stack, name: &str, expected: f64) -> anyhow::Result<()> {
    eventually("the counter is reached", TIMEOUT, async || {
        let value = stack.workers[0].metric(name).await?;
        ensure!(value >= expected, "{name} is {value}; expected {expected}");
        Ok(())
    })
    .await
}

async fn records_deleted_before_they_were_read_are_counted_and_logged(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_broker(&Layout::default()).await?;
    let (user, case) = (fresh_user(), &events::designed()?[0]);
    let mut clients = [stack.client(&user).await?];
    let read = case.fresh(&user)?;
    stack.producer.send(&read).await?;
    expect_notifications(&mut clients[0], std::slice::from_ref(&read)).await?;
    stack.workers[0].stop().await?;
    let mut deleted = vec![case.fresh(&user)?, case.fresh(&user)?];
    let mut kept = case.fresh(&user)?;
    for event in deleted.iter_mut().chain([&mut kept]) {
        event.key.clone_from(&read.key);
    }
    stack.producer.send_all(&deleted).await?;
    stack.kafka.delete_records(&read.topic).await?;
    stack.workers[0].restart().await?;
    // No record behind them shows it.
    wait_for_counter(&stack, "ingest_worker_deleted_offsets_total", 2.0).await?;
    stack.producer.send(&kept).await?;
    expect_notifications(&mut clients[0], &[kept]).await?;
    let log = stack.workers[0].log()?;
    let line = log.lines().find(|line| line.contains("unread records were deleted"));
    let line = line.context("the worker logs no deleted records")?;
    ensure!(line.contains(&read.topic), "the line does not name {}: {line}", read.topic);
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn after_a_rewind_nothing_older_than_its_claim_is_published_again(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("IDEMPOTENCY_TTL", "2s".to_owned())];
    let layout = Layout { worker_settings, ..Layout::default() };
    let mut stack = context.own_broker(&layout).await?;
    let (user, case) = (fresh_user(), &events::designed()?[0]);
    let mut clients = [stack.client(&user).await?];
    let before = case.fresh(&user)?;
    stack.producer.send(&before).await?;
    expect_notifications(&mut clients[0], std::slice::from_ref(&before)).await?;
    eventually("the worker warns of the retention of the topics", TIMEOUT, async || {
        let log = stack.workers[0].log()?;
        ensure!(log.contains("topics keep records longer than IDEMPOTENCY_TTL"), "it does not");
        Ok(())
    })
    .await?;
    stack.workers[0].stop().await?;
    eventually("the claims expire", TIMEOUT, async || {
        let mut redis = stack.redis.connection().await?;
        let claims: Vec<String> = cmd("KEYS").arg("ws:seen:*").query_async(&mut redis).await?;
        ensure!(claims.is_empty(), "expected no claim, got {claims:?}");
        Ok(())
    })
    .await?;
    stack.kafka.commit(&stack.group, &before.topic, 1_000_000).await?;
    stack.workers[0].restart().await?;
    wait_for_counter(&stack, "ingest_worker_offset_resets_total", 1.0).await?;
    let mut after = case.fresh(&user)?;
    after.key.clone_from(&before.key);
    stack.producer.send(&after).await?;
    expect_notifications(&mut clients[0], &[after]).await?;
    wait_for_counter(&stack, TOO_OLD, 1.0).await?;
    ensure!(stack.workers[0].log()?.contains("partition rewound"), "the rewind is not logged");
    expect_the_next_owner_to_ignore(&mut stack, &before.topic, &before.key, &case.fresh(&user)?)
        .await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

/// Checks that a restarted worker ignores an old event, whose offset is below the one from which its
/// partition was rewound.
async fn expect_the_next_owner_to_ignore(
    stack: &mut Stack,
    topic: &str,
    key: &str,
    old: &Event,
) -> anyhow::Result<()> {
    stack.workers[0].stop().await?;
    stack.workers[0].restart().await?;
    let hour_ago = (Timestamp::now() - SignedDuration::from_hours(1)).as_millisecond();
    let value = serde_json::to_vec(&old.envelope)?;
    let (key, value, timestamp_ms) = (Some(key), Some(&*value), Some(hour_ago));
    let record = Record { topic, key, value, timestamp_ms, ..Record::default() };
    stack.producer.send_record(record).await?;
    wait_for_counter(stack, TOO_OLD, 1.0).await
}

async fn a_topic_that_ends_in_a_transaction_marker_has_no_lag(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_broker(&Layout::default()).await?;
    let (user, case) = (fresh_user(), &events::designed()?[0]);
    let mut client = stack.client(&user).await?;
    // A worker that starts after the transaction exports no earlier lag.
    stack.workers[0].stop().await?;
    let id = Uuid::new_v4().to_string();
    let producer = Producer::with(&stack.kafka, &[("transactional.id", &id)])?;
    producer.init_transactions().await?;
    let event = case.fresh(&user)?;
    producer.transaction(std::slice::from_ref(&event), true).await?;
    stack.workers[0].restart().await?;
    expect_notifications(&mut client, std::slice::from_ref(&event)).await?;
    let series = format!("ingest_worker_consumer_lag_records{{topic=\"{}\"}}", event.topic);
    eventually("the worker has no lag", LAG_TIMEOUT, async || {
        let lag = metric(&stack.workers[0].metrics().await?, &series);
        ensure!(lag == Some(0.0), "expected {series} to be 0, got {lag:?}");
        Ok(())
    })
    .await?;
    stack.shut_down_and_check_logs().await
}
