//! Kill -9 of Redis and of workers: no event is lost or published twice.

use anyhow::ensure;
use harness::{
    events::{self, Event, fresh_user},
    eventually, http,
    redis::stream_key,
    stack::{Layout, Stack},
};
use serde_json::Value;
use support::delivery_checker::DeliveryChecker;

use crate::{
    assertions::{expect_delivery, wait_for_published},
    context::Context,
    runner::scenarios,
    under_load::RECOVERY_TIMEOUT,
};

scenarios![
    a_redis_that_restarts_with_or_without_its_data_costs_no_event,
    a_worker_killed_while_events_flow_publishes_each_exactly_once,
    a_worker_killed_while_redis_hangs_publishes_each_exactly_once,
];

async fn a_redis_that_restarts_with_or_without_its_data_costs_no_event(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout::default()).await?;
    let user = fresh_user();
    let before = events::one_of_each(&user)?;
    stack.producer.send_all(&before).await?;
    wait_for_published(&stack, &user, before.len()).await?;
    stack.redis.kill().await?;
    let during = events::one_of_each(&user)?;
    let all = [before, during].concat();
    // The first half a second time: Redis keeps their claims across a restart.
    stack.producer.send_all(&all).await?;
    stack.redis.restart().await?;
    wait_for_published(&stack, &user, all.len()).await?;
    check_streams(&stack, &all).await?;
    expect_delivery(&stack).await?;

    stack.redis.kill().await?;
    stack.redis.restart_empty().await?;
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

/// Checks that the streams hold exactly these events, each once and in the stream of its user.
async fn check_streams(stack: &Stack, events: &[Event]) -> anyhow::Result<()> {
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

/// Workers without gateways. The group removes a dead member soon, and an offset that is stored too
/// early is committed before the kill, so that the error has an effect.
async fn workers(context: &Context, workers: usize) -> anyhow::Result<Stack> {
    context.durable_kafka().await?;
    let worker_settings = vec![
        ("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "6000".to_owned()),
        ("KAFKA_PROPERTY_AUTO_COMMIT_INTERVAL_MS", "100".to_owned()),
    ];
    let layout = Layout { workers, gateways: 0, worker_settings, ..Layout::default() };
    context.own_stack(&layout).await
}

const USERS: usize = 50;
/// Few enough that a stream keeps all events of its user.
const EVENTS_PER_USER: usize = 200;

fn ten_thousand_events() -> anyhow::Result<(Vec<String>, Vec<Event>)> {
    let users: Vec<String> = (0..USERS).map(|_| fresh_user()).collect();
    let cases = events::designed()?;
    let mut events = Vec::with_capacity(USERS * EVENTS_PER_USER);
    for number in 0..EVENTS_PER_USER {
        for user in &users {
            events.push(cases[number % cases.len()].fresh(user)?);
        }
    }
    Ok((users, events))
}

/// Waits until the streams of these users have at least so many entries, and returns how many.
async fn wait_for_entries(
    stack: &Stack,
    users: &[String],
    expected: usize,
) -> anyhow::Result<usize> {
    let mut lengths = redis::pipe();
    for user in users {
        lengths.cmd("XLEN").arg(stream_key(user));
    }
    eventually("the events are published", RECOVERY_TIMEOUT, async || {
        let mut connection = stack.redis.connection().await?;
        let lengths: Vec<usize> = lengths.query_async(&mut connection).await?;
        let entries = lengths.iter().sum();
        ensure!(entries >= expected, "{entries} of {expected} events are published");
        Ok(entries)
    })
    .await
}

async fn a_worker_killed_while_events_flow_publishes_each_exactly_once(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = workers(context, 1).await?;
    let (users, events) = ten_thousand_events()?;
    let (producer, sent) = (stack.producer.clone(), events.clone());
    let sending = tokio::spawn(async move {
        for chunk in sent.chunks(250) {
            producer.send_all(chunk).await?;
        }
        anyhow::Ok(())
    });
    for expected in [1_000, 4_000, 7_000] {
        let entries = wait_for_entries(&stack, &users, expected).await?;
        stack.workers[0].kill().await?;
        ensure!(entries < events.len(), "killed only after every event had been published");
        stack.workers[0].restart().await?;
    }
    sending.await??;
    wait_for_entries(&stack, &users, events.len()).await?;
    check_streams(&stack, &events).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_worker_killed_while_redis_hangs_publishes_each_exactly_once(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = workers(context, 1).await?;
    let (users, events) = ten_thousand_events()?;
    let (first, second) = events.split_at(events.len() / 2);
    stack.producer.send_all(first).await?;
    wait_for_entries(&stack, &users, first.len() / 10).await?;
    stack.redis.freeze()?;
    stack.producer.send_all(second).await?;
    eventually("the worker reports that Redis does not answer", RECOVERY_TIMEOUT, async || {
        let (status, _) = http::get(stack.workers[0].admin(), "/readyz").await?;
        ensure!(status == 503, "expected status 503 of /readyz, got {status}");
        Ok(())
    })
    .await?;
    stack.workers[0].kill().await?;
    stack.redis.thaw()?;
    stack.workers[0].restart().await?;
    wait_for_entries(&stack, &users, events.len()).await?;
    check_streams(&stack, &events).await?;
    stack.shut_down_and_check_logs().await
}
