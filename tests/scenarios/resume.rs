//! Resuming: a client receives `complete` if and only if it has missed nothing since its position.

use anyhow::{Context as _, bail, ensure};
use harness::{
    client::Client,
    events::{self, Event, fresh_user},
    eventually,
    redis::stream_key,
    stack::{Layout, Stack, TIMEOUT},
};
use redis::cmd;

use crate::{
    assertions::{expect_notifications, wait_for_published},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_user_without_history_resumes_completely,
    a_position_that_was_trimmed_or_lost_resumes_incompletely,
    after_the_history_has_expired_a_client_that_missed_nothing_resumes_completely,
    a_client_with_a_filter_resumes_completely_after_filtered_notifications,
    a_position_that_never_existed_resumes_incompletely,
    the_switch_from_history_to_live_frames_leaves_no_gap_and_no_duplicate,
];

/// Connects with a position. Returns the client, the outcome of the resume, and the new position.
async fn resume(
    stack: &Stack,
    user: &str,
    position: &str,
) -> anyhow::Result<(Client, String, String)> {
    let mut client = stack.connection(0, user)?.query("last_event_id", position).open().await?;
    let state = client.expect_authenticated(TIMEOUT).await?;
    let field = |name: &str| {
        let text = state[name].as_str().map(str::to_owned);
        text.with_context(|| format!("no field {name} in {state}"))
    };
    Ok((client, field("resume")?, field("last_event_id")?))
}

async fn expect_resume(
    stack: &Stack,
    user: &str,
    position: &str,
    expected: &str,
) -> anyhow::Result<()> {
    let (_, resumed, _) = resume(stack, user, position).await?;
    ensure!(resumed == expected, "{position}: expected resume {expected}, got {resumed}");
    Ok(())
}

/// Events that are published in the order in which they are sent, as their key is the same.
fn events_of_one_partition(user: &str, count: usize) -> anyhow::Result<Vec<Event>> {
    let case = &events::designed()?[0];
    let event = |_| {
        let mut event = case.fresh(user)?;
        user.clone_into(&mut event.key);
        Ok(event)
    };
    (0..count).map(event).collect()
}

/// Sends events to a user and waits until they are published.
async fn publish(stack: &Stack, user: &str, count: usize) -> anyhow::Result<Vec<Event>> {
    let before = stack.redis.stream(user).await?.len();
    let events = events_of_one_partition(user, count)?;
    stack.producer.send_all(&events).await?;
    wait_for_published(stack, user, before + count).await?;
    Ok(events)
}

async fn a_user_without_history_resumes_completely(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.connection(0, &user)?.open().await?;
    let state = client.expect_authenticated(TIMEOUT).await?;
    let start = state["last_event_id"].as_str().context("the state has a position")?;
    ensure!(state["resume"] == "none", "expected resume none, got {state}");
    expect_resume(stack, &user, start, "complete").await?;
    let mut events = Vec::new();
    for count in [1, 5] {
        events.extend(publish(stack, &user, count).await?);
        let (mut client, resumed, newest) = resume(stack, &user, start).await?;
        ensure!(resumed == "complete", "after {} events: {resumed}", events.len());
        expect_notifications(&mut client, &events).await?;
        expect_resume(stack, &user, &newest, "complete").await?;
    }
    Ok(())
}

async fn a_position_that_was_trimmed_or_lost_resumes_incompletely(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("HISTORY_MAX_LEN", "5".to_owned())];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let mut redis = stack.redis.connection().await?;
    let user = fresh_user();
    let (_, _, start) = resume(&stack, &user, "0-0").await?;
    publish(&stack, &user, 1).await?;
    let first = stack.redis.stream(&user).await?.remove(0).0;
    for position in [&start, &first] {
        expect_resume(&stack, &user, position, "complete").await?;
    }
    // Redis trims whole nodes of a stream, which have up to 100 entries.
    let many = events_of_one_partition(&user, 300)?;
    stack.producer.send_all(&many).await?;
    let last = &many[many.len() - 1].id;
    eventually("all events are published", TIMEOUT, async || {
        let stream = stack.redis.stream(&user).await?;
        ensure!(stream.iter().any(|(_, text)| text.contains(last)), "the last one is missing");
        Ok(())
    })
    .await?;
    for position in [&start, &first] {
        expect_resume(&stack, &user, position, "incomplete").await?;
    }
    let newest = stack.redis.stream(&user).await?.pop().context("the stream has entries")?.0;
    expect_resume(&stack, &user, &newest, "complete").await?;

    let position = format!("ws:position:{{{user}}}");
    cmd("DEL").arg(stream_key(&user)).arg(position).exec_async(&mut redis).await?;
    expect_resume(&stack, &user, &newest, "incomplete").await?;
    publish(&stack, &user, 1).await?;
    for position in [&start, &newest] {
        expect_resume(&stack, &user, position, "incomplete").await?;
    }
    let other = fresh_user();
    let (_, _, start) = resume(&stack, &other, "0-0").await?;
    publish(&stack, &other, 1).await?;
    cmd("FLUSHALL").exec_async(&mut redis).await?;
    expect_resume(&stack, &other, &start, "incomplete").await?;
    stack.shut_down_and_check_logs().await
}

async fn after_the_history_has_expired_a_client_that_missed_nothing_resumes_completely(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut redis = stack.redis.connection().await?;
    publish(stack, &user, 2).await?;
    let [missed_one, newest] = &stack.redis.stream(&user).await?[..] else {
        bail!("expected two entries");
    };
    cmd("PEXPIRE").arg(stream_key(&user)).arg(1).exec_async(&mut redis).await?;
    eventually("the history has expired", TIMEOUT, async || {
        ensure!(stack.redis.stream(&user).await?.is_empty(), "the stream still exists");
        Ok(())
    })
    .await?;
    expect_resume(stack, &user, &newest.0, "complete").await?;
    expect_resume(stack, &user, &missed_one.0, "incomplete").await?;
    let next = publish(stack, &user, 1).await?;
    let (mut client, resumed, _) = resume(stack, &user, &newest.0).await?;
    ensure!(resumed == "complete", "after the next notification: {resumed}");
    expect_notifications(&mut client, &next).await?;
    expect_resume(stack, &user, &missed_one.0, "incomplete").await
}

async fn a_client_with_a_filter_resumes_completely_after_filtered_notifications(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let filtered = stack.connection(0, &user)?.query("categories", "system_alerts");
    let mut client = filtered.open().await?;
    client.expect_authenticated(TIMEOUT).await?;
    publish(stack, &user, 3).await?;
    let newest = stack.redis.stream(&user).await?.pop().context("the stream has entries")?.0;
    let frame = client.next_frame(TIMEOUT).await?;
    ensure!(frame["data"]["state"] == "position", "expected a position, got {frame}");
    ensure!(frame["data"]["last_event_id"] == newest.as_str(), "expected {newest}, got {frame}");
    expect_resume(stack, &user, &newest, "complete").await
}

async fn a_position_that_never_existed_resumes_incompletely(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    for position in ["0-0", "0-1", "99999999999999-0", "soon", "-", "1", "%24"] {
        expect_resume(stack, &user, position, "incomplete").await?;
    }
    publish(stack, &user, 2).await?;
    for position in ["0-0", "1-1", "99999999999999-0"] {
        expect_resume(stack, &user, position, "incomplete").await?;
    }
    Ok(())
}

async fn the_switch_from_history_to_live_frames_leaves_no_gap_and_no_duplicate(
    context: &Context,
) -> anyhow::Result<()> {
    // Few enough that the history reaches back to the position.
    const EVENTS: usize = 37;
    let (stack, user) = (context.stack().await?, fresh_user());
    publish(stack, &user, 1).await?;
    let mut position = stack.redis.stream(&user).await?.remove(0).0;
    for round in 0..25 {
        let events = events_of_one_partition(&user, EVENTS)?;
        // The events are published before, while and after the client connects.
        let receive = async {
            let (mut client, resumed, _) = resume(stack, &user, &position).await?;
            ensure!(
                resumed == "complete",
                "round {round}: expected a complete resume after {position}, got {resumed}"
            );
            let mut newest = String::new();
            for Event { id, .. } in &events {
                let frame = client.next_notification(TIMEOUT).await?;
                ensure!(frame["event_id"] == **id, "round {round}: expected {id}, got {frame}");
                frame["id"].as_str().context("a notification has an id")?.clone_into(&mut newest);
            }
            Ok(newest)
        };
        ((), position) = tokio::try_join!(stack.producer.send_all(&events), receive)?;
    }
    Ok(())
}
