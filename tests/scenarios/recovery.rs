//! What dies comes back, and nothing is lost or told twice.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    stack::{Layout, Stack, TIMEOUT},
};
use serde_json::Value;
use support::delivery_checker::DeliveryChecker;

use crate::{
    assertions::{
        expect_delivery, expect_no_further_frames, expect_notifications, wait_for_published,
    },
    context::Context,
    runner::scenarios,
};

scenarios![
    events_sent_while_no_worker_runs_arrive_when_one_starts,
    a_gateway_killed_and_started_again_serves_as_before,
    what_a_client_missed_while_away_arrives_when_it_resumes,
    redis_killed_and_back_with_its_data_costs_no_event,
    redis_back_empty_costs_no_later_event,
    redis_frozen_for_a_while_costs_no_event,
    a_worker_killed_while_events_flow_publishes_each_exactly_once,
    a_worker_killed_while_redis_hangs_publishes_each_exactly_once,
    the_other_worker_takes_over_when_one_is_killed,
];

/// Longest wait for a fault to be over, with all time-outs on the way.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);

async fn events_sent_while_no_worker_runs_arrive_when_one_starts(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout::default()).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    stack.workers[0].stop().await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    stack.workers[0].restart().await?;
    expect_notifications(&mut clients[0], &events).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    drop(clients);
    stack.shut_down_and_check_logs().await
}

async fn a_gateway_killed_and_started_again_serves_as_before(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout { gateways: 2, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut lost = stack.client_at(0, &user).await?;
    let mut clients = vec![stack.client_at(1, &user).await?];
    stack.gateways[0].kill().await?;
    ensure!(lost.next_frame(TIMEOUT).await.is_err(), "its socket has ended");
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut clients[0], &events).await?;
    stack.gateways[0].restart().await?;
    clients.push(stack.client_at(0, &user).await?);
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    for client in &mut clients {
        expect_notifications(client, &events).await?;
    }
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    drop(clients);
    stack.shut_down_and_check_logs().await
}

async fn what_a_client_missed_while_away_arrives_when_it_resumes(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let first = events::one_of_each(&user)?;
    stack.producer.send_all(&first).await?;
    let stream = wait_for_published(stack, &user, first.len()).await?;
    let position = &stream.last().context("the stream has entries")?.0;
    let missed = events::one_of_each(&user)?;
    stack.producer.send_all(&missed).await?;
    wait_for_published(stack, &user, first.len() + missed.len()).await?;
    let connection = stack.connection(1, &user)?.query("last_event_id", position);
    let mut clients = [connection.open().await?];
    let state = clients[0].expect_authenticated(TIMEOUT).await?;
    ensure!(state["resume"] == "complete", "{state}");
    expect_notifications(&mut clients[0], &missed).await?;
    expect_no_further_frames(stack, &user, &mut clients).await
}

async fn redis_killed_and_back_with_its_data_costs_no_event(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout::default()).await?;
    let user = fresh_user();
    let before = events::one_of_each(&user)?;
    stack.producer.send_all(&before).await?;
    wait_for_published(&stack, &user, before.len()).await?;
    stack.redis.kill().await?;
    let during = events::one_of_each(&user)?;
    // The old ones again, too: Redis still knows them.
    stack.producer.send_all(&[before.clone(), during.clone()].concat()).await?;
    stack.redis.restart().await?;
    wait_for_published(&stack, &user, before.len() + during.len()).await?;
    judge(&stack, &[before, during].concat()).await?;
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

async fn redis_back_empty_costs_no_later_event(context: &Context) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout::default()).await?;
    expect_delivery(&stack).await?;
    stack.redis.kill().await?;
    stack.redis.restart_empty().await?;
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

async fn redis_frozen_for_a_while_costs_no_event(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    let user = fresh_user();
    expect_delivery(&stack).await?;
    stack.redis.freeze()?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    // Long enough for the worker to give up on an answer, which it tells on its metrics page.
    failed_attempts(&stack).await?;
    stack.redis.thaw()?;
    wait_for_published(&stack, &user, events.len()).await?;
    judge(&stack, &events).await?;
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

/// Waits until the worker has given up on Redis at least once.
async fn failed_attempts(stack: &Stack) -> anyhow::Result<()> {
    eventually("the worker gives up on an answer", RECOVERY_LIMIT, async || {
        let (status, _) = harness::http::get(stack.workers[0].admin(), "/readyz").await?;
        ensure!(status == 503, "it says it is ready");
        Ok(())
    })
    .await
}

/// Checks that the streams hold exactly these events, each once and at its user.
async fn judge(stack: &Stack, events: &[Event]) -> anyhow::Result<()> {
    let mut checker = DeliveryChecker::default();
    let mut users: Vec<&str> = Vec::new();
    for event in events {
        checker.record_sent(&event.user, &event.id);
        users.push(&event.user);
    }
    users.sort_unstable();
    users.dedup();
    for user in users {
        for (position, text) in stack.redis.stream(user).await? {
            let mut notification: Value = serde_json::from_str(&text)?;
            notification["id"] = position.into();
            checker.record_delivered(user, &notification)?;
        }
    }
    checker.violations().ensure_none()
}

const USERS: usize = 50;
/// Few enough for a stream to keep them all.
const EVENTS_OF_A_USER: usize = 200;

fn ten_thousand() -> anyhow::Result<(Vec<String>, Vec<Event>)> {
    let users: Vec<String> = (0..USERS).map(|_| fresh_user()).collect();
    let cases = events::designed()?;
    let mut events = Vec::with_capacity(USERS * EVENTS_OF_A_USER);
    for number in 0..EVENTS_OF_A_USER {
        for user in &users {
            events.push(cases[number % cases.len()].fresh(user)?);
        }
    }
    Ok((users, events))
}

/// How many entries the streams of these users have.
async fn progress(stack: &Stack, users: &[String]) -> anyhow::Result<usize> {
    let mut connection = stack.redis.connection().await?;
    let mut pipeline = redis::pipe();
    for user in users {
        pipeline.cmd("XLEN").arg(format!("ws:stream:{{{user}}}"));
    }
    let lengths: Vec<usize> = pipeline.query_async(&mut connection).await?;
    Ok(lengths.iter().sum())
}

async fn progressed(stack: &Stack, users: &[String], entries: usize) -> anyhow::Result<usize> {
    eventually("the events are published", RECOVERY_LIMIT, async || {
        let progress = progress(stack, users).await?;
        ensure!(progress >= entries, "{progress} of {entries} are");
        Ok(progress)
    })
    .await
}

async fn a_worker_killed_while_events_flow_publishes_each_exactly_once(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let mut stack = context.own_stack(&killable(1)).await?;
    let (users, events) = ten_thousand()?;
    let producer = stack.producer.clone();
    let sent = events.clone();
    let sending = tokio::spawn(async move {
        for some in sent.chunks(250) {
            producer.send_all(some).await?;
        }
        anyhow::Ok(())
    });
    for goal in [1_000, 4_000, 7_000] {
        let progress = progressed(&stack, &users, goal).await?;
        stack.workers[0].kill().await?;
        ensure!(progress < events.len(), "killed in mid-flow, not at its end");
        stack.workers[0].restart().await?;
    }
    sending.await??;
    progressed(&stack, &users, events.len()).await?;
    judge(&stack, &events).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_worker_killed_while_redis_hangs_publishes_each_exactly_once(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let mut stack = context.own_stack(&killable(1)).await?;
    let (users, events) = ten_thousand()?;
    let (first, second) = events.split_at(events.len() / 2);
    stack.producer.send_all(first).await?;
    progressed(&stack, &users, first.len() / 10).await?;
    stack.redis.freeze()?;
    stack.producer.send_all(second).await?;
    failed_attempts(&stack).await?;
    stack.workers[0].kill().await?;
    stack.redis.thaw()?;
    stack.workers[0].restart().await?;
    progressed(&stack, &users, events.len()).await?;
    judge(&stack, &events).await?;
    stack.shut_down_and_check_logs().await
}

async fn the_other_worker_takes_over_when_one_is_killed(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let stack = context.own_stack(&killable(2)).await?;
    let (users, events) = ten_thousand()?;
    let (first, second) = events.split_at(events.len() / 2);
    stack.producer.send_all(first).await?;
    progressed(&stack, &users, first.len() / 10).await?;
    stack.workers[0].kill().await?;
    stack.producer.send_all(second).await?;
    progressed(&stack, &users, events.len()).await?;
    judge(&stack, &events).await?;
    stack.check_logs_and_discard()
}

/// Workers alone: killing one is noticed soon, and an offset stored too early is committed before
/// the kill, so that it shows.
fn killable(workers: usize) -> Layout {
    let worker_settings = vec![
        ("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "6000".to_owned()),
        ("KAFKA_PROPERTY_AUTO_COMMIT_INTERVAL_MS", "100".to_owned()),
    ];
    Layout { workers, gateways: 0, worker_settings, ..Layout::default() }
}
