//! The read state when Redis has lost what it counts, or holds values of other software.

use anyhow::ensure;
use harness::{events, redis::stream_key, stack::TIMEOUT};

use super::{expect_read_state, user_with_history};
use crate::{assertions::wait_for_published, context::Context, runner::scenarios};

scenarios![
    unread_notifications_that_have_expired_make_the_count_inexact,
    a_history_and_position_that_were_lost_make_the_count_inexact,
    every_device_is_sent_the_read_state_after_redis_has_lost_a_history,
    foreign_values_in_redis_do_not_keep_a_user_from_reading,
    a_notification_from_the_future_is_neither_counted_nor_read,
];

async fn unread_notifications_that_have_expired_make_the_count_inexact(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let (user, ids) = user_with_history(stack, 3).await?;
    expect_read_state(stack, &user, Some(&ids[0]), (&ids[0], 2, true, &ids[2])).await?;
    let mut redis = stack.redis.connection().await?;
    redis::cmd("DEL").arg(stream_key(&user)).exec_async(&mut redis).await?;
    expect_read_state(stack, &user, None, (&ids[0], 0, false, &ids[2])).await?;
    expect_read_state(stack, &user, Some(&ids[2]), (&ids[2], 0, true, &ids[2])).await
}

async fn a_history_and_position_that_were_lost_make_the_count_inexact(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, case) = (context.stack().await?, &events::designed()?[0]);
    for connects in [false, true] {
        let (user, ids) = user_with_history(stack, 3).await?;
        expect_read_state(stack, &user, Some(&ids[0]), (&ids[0], 2, true, &ids[2])).await?;
        let mut redis = stack.redis.connection().await?;
        let position = format!("ws:position:{{{user}}}");
        redis::cmd("DEL").arg(stream_key(&user)).arg(position).exec_async(&mut redis).await?;
        expect_read_state(stack, &user, None, (&ids[0], 0, false, "0-0")).await?;
        // A connection gives the user a position of its own.
        let _client = if connects { Some(stack.client(&user).await?) } else { None };
        stack.producer.send_all(&[case.fresh(&user)?]).await?;
        let (newest, _) = wait_for_published(stack, &user, 1).await?.remove(0);
        expect_read_state(stack, &user, None, (&ids[0], 1, false, &newest)).await?;
        expect_read_state(stack, &user, Some(&newest), (&newest, 0, true, &newest)).await?;
    }
    Ok(())
}

async fn every_device_is_sent_the_read_state_after_redis_has_lost_a_history(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, case) = (context.stack().await?, &events::designed()?[0]);
    let (user, _) = user_with_history(stack, 5).await?;
    let mut devices = [stack.client_at(0, &user).await?, stack.client_at(1, &user).await?];
    let mut redis = stack.redis.connection().await?;
    for kind in ["stream", "start", "position", "read"] {
        let key = format!("ws:{kind}:{{{user}}}");
        redis::cmd("DEL").arg(key).exec_async(&mut redis).await?;
    }
    stack.producer.send_all(&[case.fresh(&user)?]).await?;
    let (newest, _) = wait_for_published(stack, &user, 1).await?.remove(0);
    for device in &mut devices {
        let frame = device.next_frame(TIMEOUT).await?;
        ensure!(frame["id"] == *newest, "expected the notification {newest}, got {frame}");
        let frame = device.next_frame(TIMEOUT).await?;
        let is_counted = frame["event"] == "read_state" && frame["data"]["unread"] == 1;
        ensure!(is_counted, "expected a read state with 1 unread notification, got {frame}");
    }
    Ok(())
}

async fn foreign_values_in_redis_do_not_keep_a_user_from_reading(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let mut redis = stack.redis.connection().await?;
    for key in ["start", "position", "read"] {
        for value in [None, Some("x\",\"a\":\""), Some("99999999999999999999-0 1 y"), Some("7-")] {
            let (user, ids) = user_with_history(stack, 3).await?;
            let name = format!("ws:{key}:{{{user}}}");
            redis::cmd("DEL").arg(&name).exec_async(&mut redis).await?;
            let command = if value.is_some() { "SET" } else { "LPUSH" };
            let value = value.unwrap_or("of another type");
            redis::cmd(command).arg(&name).arg(value).exec_async(&mut redis).await?;
            expect_read_state(stack, &user, Some(&ids[0]), (&ids[0], 2, true, &ids[2])).await?;
        }
    }
    Ok(())
}

async fn a_notification_from_the_future_is_neither_counted_nor_read(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let (user, ids) = user_with_history(stack, 2).await?;
    let future = "99999999999999-0";
    let mut redis = stack.redis.connection().await?;
    let mut foreign = redis::cmd("XADD");
    foreign.arg(stream_key(&user)).arg(future).arg("n").arg("{}");
    foreign.exec_async(&mut redis).await?;
    expect_read_state(stack, &user, None, ("0-0", 2, true, &ids[1])).await?;
    expect_read_state(stack, &user, Some(future), (&ids[1], 0, true, &ids[1])).await
}
