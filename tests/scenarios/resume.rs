//! What a client is told about its past is true: `complete` when nothing is missing, and only
//! then.

use anyhow::{Context as _, ensure};
use harness::{
    client::Client,
    events::{self, Event, fresh_user},
    stack::{Layout, Stack, TIMEOUT},
};

use crate::{
    assertions::{expect_notifications, wait_for_published},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_user_without_history_resumes_with_everything_since,
    a_position_that_was_trimmed_or_lost_is_told_as_incomplete,
    a_position_that_never_was_is_told_as_incomplete,
    the_hand_over_from_history_to_live_leaves_no_gap_and_no_overlap,
];

/// Connects with a position; returns the client, what it was told, and its new position.
async fn resume(
    stack: &Stack,
    user: &str,
    position: &str,
) -> anyhow::Result<(Client, String, String)> {
    let mut client = stack.connection(0, user)?.query("last_event_id", position).open().await?;
    let state = client.expect_authenticated(TIMEOUT).await?;
    let text = |name: &str| state[name].as_str().map(str::to_owned).context("a state is whole");
    Ok((client, text("resume")?, text("last_event_id")?))
}

async fn check(stack: &Stack, user: &str, position: &str, expected: &str) -> anyhow::Result<()> {
    let (_, told, _) = resume(stack, user, position).await?;
    ensure!(told == expected, "{position} is told to be {told}, not {expected}");
    Ok(())
}

/// Sends events to a user and waits until they are published.
async fn publish(stack: &Stack, user: &str, count: usize) -> anyhow::Result<Vec<Event>> {
    let before = stack.redis.stream(user).await?.len();
    let case = &events::designed()?[0];
    let events = (0..count).map(|_| case.fresh(user)).collect::<anyhow::Result<Vec<_>>>()?;
    stack.producer.send_all(&events).await?;
    wait_for_published(stack, user, before + count).await?;
    Ok(events)
}

/// Events that are published in the order they are sent.
fn in_one_partition(user: &str, count: usize) -> anyhow::Result<Vec<Event>> {
    let case = &events::designed()?[0];
    let event = |_| {
        let mut event = case.fresh(user)?;
        user.clone_into(&mut event.key);
        Ok(event)
    };
    (0..count).map(event).collect()
}

async fn a_user_without_history_resumes_with_everything_since(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let state = stack.connection(0, &user)?.open().await?.expect_authenticated(TIMEOUT).await?;
    let start = state["last_event_id"].as_str().context("it has a position")?;
    ensure!(state["resume"] == "none", "{state}");
    // Nothing has happened since; then one event; then more.
    check(stack, &user, start, "complete").await?;
    let mut events = Vec::new();
    for count in [1, 5] {
        events.extend(publish(stack, &user, count).await?);
        let (mut client, told, newest) = resume(stack, &user, start).await?;
        ensure!(told == "complete", "after {} events: {told}", events.len());
        expect_notifications(&mut client, &events).await?;
        check(stack, &user, &newest, "complete").await?;
    }
    Ok(())
}

async fn a_position_that_was_trimmed_or_lost_is_told_as_incomplete(
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
        check(&stack, &user, position, "complete").await?;
    }
    let many = in_one_partition(&user, 300)?;
    stack.producer.send_all(&many).await?;
    let last = &many[many.len() - 1].id;
    harness::eventually("all are published", TIMEOUT, async || {
        let stream = stack.redis.stream(&user).await?;
        ensure!(stream.iter().any(|(_, text)| text.contains(last)), "the last one is not");
        Ok(())
    })
    .await?;
    for position in [&start, &first] {
        check(&stack, &user, position, "incomplete").await?;
    }
    let newest = stack.redis.stream(&user).await?.pop().context("some are left")?.0;
    check(&stack, &user, &newest, "complete").await?;

    redis::cmd("DEL").arg(format!("ws:stream:{{{user}}}")).exec_async(&mut redis).await?;
    check(&stack, &user, &newest, "incomplete").await?;
    publish(&stack, &user, 1).await?;
    for position in [&start, &newest] {
        check(&stack, &user, position, "incomplete").await?;
    }
    let other = fresh_user();
    let (_, _, start) = resume(&stack, &other, "0-0").await?;
    publish(&stack, &other, 1).await?;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await?;
    check(&stack, &other, &start, "incomplete").await?;
    stack.shut_down_and_check_logs().await
}

async fn a_position_that_never_was_is_told_as_incomplete(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    for position in ["0-0", "0-1", "99999999999999-0", "soon", "-", "1", "%24"] {
        check(stack, &user, position, "incomplete").await?;
    }
    publish(stack, &user, 2).await?;
    for position in ["0-0", "1-1", "99999999999999-0"] {
        check(stack, &user, position, "incomplete").await?;
    }
    Ok(())
}

async fn the_hand_over_from_history_to_live_leaves_no_gap_and_no_overlap(
    context: &Context,
) -> anyhow::Result<()> {
    // Few enough that history always reaches back to where a client left.
    const AT_ONCE: usize = 37;
    let (stack, user) = (context.stack().await?, fresh_user());
    stack.producer.send_all(&in_one_partition(&user, 1)?).await?;
    let mut position = wait_for_published(stack, &user, 1).await?.remove(0).0;
    for round in 0..25 {
        let events = in_one_partition(&user, AT_ONCE)?;
        // While the client connects, and before and after.
        let receive = async {
            let (mut client, told, _) = resume(stack, &user, &position).await?;
            ensure!(told == "complete", "at {position}, round {round}: {told}");
            let mut newest = String::new();
            for event in &events {
                let frame = client.next_notification(TIMEOUT).await?;
                ensure!(frame["event_id"] == *event.id, "round {round}: not {}: {frame}", event.id);
                frame["id"].as_str().context("it has a position")?.clone_into(&mut newest);
            }
            Ok(newest)
        };
        ((), position) = tokio::try_join!(stack.producer.send_all(&events), receive)?;
    }
    Ok(())
}
