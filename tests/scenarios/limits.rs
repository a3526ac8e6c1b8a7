//! What a client may do and not do, and the close code for each.

use anyhow::ensure;
use harness::{
    client::Client,
    events::{self, fresh_user},
    stack::{Layout, Stack, TIMEOUT},
};
use serde_json::json;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::{
    assertions::{
        expect_close, expect_error_close, expect_no_further_frames, expect_notifications,
    },
    context::Context,
    runner::scenarios,
};

scenarios![
    a_ping_is_answered_and_other_text_is_ignored,
    the_sixth_connection_of_a_user_is_refused,
    a_closed_connection_makes_room_for_another,
    the_oldest_connection_goes_where_that_is_the_policy,
    binary_messages_are_refused,
    a_message_over_the_limit_ends_the_connection,
    a_protocol_error_ends_the_connection,
    text_that_is_not_utf_8_ends_the_connection,
    a_socket_that_does_not_read_is_closed_and_delays_nobody,
    a_gateway_that_is_full_asks_to_come_later,
    a_peer_that_shows_no_sign_of_life_is_closed,
];

async fn client(context: &Context) -> anyhow::Result<(&Stack, String, Client)> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let client = stack.client(&user).await?;
    Ok((stack, user, client))
}

async fn a_ping_is_answered_and_other_text_is_ignored(context: &Context) -> anyhow::Result<()> {
    let (stack, user, mut client) = client(context).await?;
    for text in ["", "hello", "[]", r#"{"type":"unheard_of"}"#, r#"{"type":5}"#, "{", "null"] {
        client.send(Message::text(text)).await?;
    }
    client.send_json(&json!({"type": "ping"})).await?;
    let answer = client.next_frame(TIMEOUT).await?;
    ensure!(answer == json!({"type": "pong"}), "{answer}");
    expect_no_further_frames(stack, &user, &mut [client]).await
}

async fn the_sixth_connection_of_a_user_is_refused(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(stack.client(&user).await?);
    }
    let mut sixth = stack.connection(0, &user)?.open().await?;
    expect_error_close(&mut sixth, 4000, "QUOTA_EXCEEDED").await?;
    expect_no_further_frames(stack, &user, &mut clients).await
}

async fn a_closed_connection_makes_room_for_another(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(stack.client(&user).await?);
    }
    // One leaves politely, one just disappears.
    clients[0].send(Message::Close(None)).await?;
    clients.drain(..2);
    for _ in 0..2 {
        let opens =
            harness::eventually("there is room again", TIMEOUT, async || stack.client(&user).await);
        clients.push(opens.await?);
    }
    expect_no_further_frames(stack, &user, &mut clients).await?;
    clients.clear();
    stack.wait_for_subscriptions(&user, 0).await
}

async fn the_oldest_connection_goes_where_that_is_the_policy(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![
        ("CONNECTION_LIMIT_POLICY", "evict_oldest".to_owned()),
        ("WEBSOCKET_MAX_CONNECTIONS_PER_USER", "2".to_owned()),
    ];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let mut oldest = stack.client(&user).await?;
    let mut others = [stack.client(&user).await?, stack.client(&user).await?];
    expect_error_close(&mut oldest, 4000, "QUOTA_EXCEEDED").await?;
    expect_no_further_frames(&stack, &user, &mut others).await?;
    stack.shut_down_and_check_logs().await
}

async fn binary_messages_are_refused(context: &Context) -> anyhow::Result<()> {
    let (_stack, _, mut client) = client(context).await?;
    client.send(Message::binary("{}")).await?;
    expect_close(&mut client, 1003).await.map(drop)
}

async fn a_message_over_the_limit_ends_the_connection(context: &Context) -> anyhow::Result<()> {
    let (_stack, _, mut whole) = client(context).await?;
    whole.send(Message::text("x".repeat(4096))).await?;
    whole.send(Message::text("x".repeat(4097))).await?;
    expect_close(&mut whole, 1009).await?;
    // In parts, each of which is small enough.
    let (_stack, _, mut parts) = client(context).await?;
    let first = Frame::message("x".repeat(4000), OpCode::Data(Data::Text), false);
    parts.send(Message::Frame(first)).await?;
    let second = Frame::message("x".repeat(4000), OpCode::Data(Data::Continue), true);
    parts.send(Message::Frame(second)).await?;
    expect_close(&mut parts, 1009).await.map(drop)
}

async fn a_protocol_error_ends_the_connection(context: &Context) -> anyhow::Result<()> {
    let mut reserved_bit = Frame::message("x", OpCode::Data(Data::Text), true);
    reserved_bit.header_mut().rsv1 = true;
    let continues_nothing = Frame::message("x", OpCode::Data(Data::Continue), true);
    for bad in [reserved_bit, continues_nothing] {
        let (_stack, _, mut client) = client(context).await?;
        client.send(Message::Frame(bad)).await?;
        expect_close(&mut client, 1002).await?;
    }
    Ok(())
}

async fn text_that_is_not_utf_8_ends_the_connection(context: &Context) -> anyhow::Result<()> {
    let (_stack, _, mut client) = client(context).await?;
    let bad = Frame::message(&b"\xff\xfe"[..], OpCode::Data(Data::Text), true);
    client.send(Message::Frame(bad)).await?;
    expect_close(&mut client, 1007).await.map(drop)
}

async fn a_socket_that_does_not_read_is_closed_and_delays_nobody(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![("OUTBOX_CAPACITY", "16".to_owned())];
    let stack = context.own_stack(&Layout { gateway_settings, ..Layout::default() }).await?;
    let (slow_user, quick_user) = (fresh_user(), fresh_user());
    let connection = stack.connection(0, &slow_user)?.receive_buffer(4096);
    let mut slow = connection.open().await?;
    slow.expect_authenticated(TIMEOUT).await?;
    let mut quick = stack.client(&quick_user).await?;
    let big = json!({"event": "big", "data": {"text": "x".repeat(64 << 10)}}).to_string();
    // More than the kernel keeps for a socket, and the outbox on top.
    for number in 0..256 {
        stack.publish(&slow_user, &big).await?;
        if number % 64 == 0 {
            let event = events::designed()?[0].fresh(&quick_user)?;
            stack.producer.send(&event).await?;
            expect_notifications(&mut quick, &[event]).await?;
        }
    }
    expect_close(&mut slow, 1013).await?;
    // Back again, it is served again.
    let mut slow = [stack.client(&slow_user).await?];
    expect_no_further_frames(&stack, &slow_user, &mut slow).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_peer_that_shows_no_sign_of_life_is_closed(context: &Context) -> anyhow::Result<()> {
    let gateway_settings = vec![("WEBSOCKET_PING_INTERVAL", "200ms".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let (stack, silent, lively) = (context.own_stack(&layout).await?, fresh_user(), fresh_user());
    // A client answers pings only while it reads.
    let silent_client = stack.client(&silent).await?;
    let mut lively_client = stack.client(&lively).await?;
    let reads = tokio::spawn(async move { lively_client.next_notification(TIMEOUT).await });
    stack.wait_for_subscriptions(&silent, 0).await?;
    stack.publish(&lively, r#"{"event":"marker"}"#).await?;
    ensure!(reads.await??["event"] == "marker", "the lively client is served");
    drop(silent_client);
    stack.shut_down_and_check_logs().await
}

async fn a_gateway_that_is_full_asks_to_come_later(context: &Context) -> anyhow::Result<()> {
    let gateway_settings = vec![("MAX_CONNECTIONS", "1".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let client = stack.client(&fresh_user()).await?;
    let status = stack.connection(0, &fresh_user())?.refused_status().await?;
    ensure!(status == 503, "refused with {status}");
    drop(client);
    harness::eventually("there is room again", TIMEOUT, async || stack.client(&fresh_user()).await)
        .await?;
    stack.shut_down_and_check_logs().await
}
