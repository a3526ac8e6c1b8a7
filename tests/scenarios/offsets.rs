//! Committed offsets that the broker no longer has, and consumer lag behind the last record.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    eventually,
    http::metric,
    producer::Producer,
    stack::{Layout, Stack, TIMEOUT},
};
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

/// `IDEMPOTENCY_TTL` where claims have to expire.
const CLAIM_LIFETIME: Duration = Duration::from_secs(2);

/// Until the lag after a record is exported.
const MEASURED_AFTER: Duration = Duration::from_secs(15);

fn lag_of(topic: &str) -> String {
    format!("ingest_worker_consumer_lag_records{{topic=\"{topic}\"}}")
}

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
    stack.producer.send(&kept).await?;
    expect_notifications(&mut clients[0], &[kept]).await?;
    wait_for_counter(&stack, "ingest_worker_skipped_offsets_total", 2.0).await?;
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
    let lifetime = format!("{}s", CLAIM_LIFETIME.as_secs());
    let worker_settings = vec![("IDEMPOTENCY_TTL", lifetime)];
    let layout = Layout { worker_settings, ..Layout::default() };
    let mut stack = context.own_broker(&layout).await?;
    let (user, case) = (fresh_user(), &events::designed()?[0]);
    let mut clients = [stack.client(&user).await?];
    let before = case.fresh(&user)?;
    stack.producer.send(&before).await?;
    expect_notifications(&mut clients[0], std::slice::from_ref(&before)).await?;
    stack.workers[0].stop().await?;
    tokio::time::sleep(CLAIM_LIFETIME).await;
    stack.kafka.commit(&stack.group, &before.topic, 1_000_000).await?;
    stack.workers[0].restart().await?;
    wait_for_counter(&stack, "ingest_worker_offset_resets_total", 1.0).await?;
    let mut after = case.fresh(&user)?;
    after.key.clone_from(&before.key);
    stack.producer.send(&after).await?;
    expect_notifications(&mut clients[0], &[after]).await?;
    wait_for_counter(&stack, "ingest_worker_ignored_total{reason=\"too_old\"}", 1.0).await?;
    ensure!(stack.workers[0].log()?.contains("partition rewound"), "the rewind is not logged");
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_topic_that_ends_in_a_transaction_marker_has_no_lag(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_broker(&Layout::default()).await?;
    let (user, case) = (fresh_user(), &events::designed()?[0]);
    let mut client = stack.client(&user).await?;
    let id = Uuid::new_v4().to_string();
    let producer = Producer::with(&stack.kafka, &[("transactional.id", &id)])?;
    producer.init_transactions().await?;
    let event = case.fresh(&user)?;
    producer.transaction(std::slice::from_ref(&event), true).await?;
    expect_notifications(&mut client, std::slice::from_ref(&event)).await?;
    // Two measurements, and the client's statistics in between.
    tokio::time::sleep(MEASURED_AFTER).await;
    let page = stack.workers[0].metrics().await?;
    let lag = metric(&page, &lag_of(&event.topic)).context("no lag is exported")?;
    ensure!(lag == 0.0, "expected no lag behind the last record, got {lag}");
    stack.shut_down_and_check_logs().await
}
