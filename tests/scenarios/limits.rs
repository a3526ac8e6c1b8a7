//! Limits on clients and connections, and the close code or status for each.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

use anyhow::{bail, ensure};
use futures_util::future::join_all;
use harness::{
    client::ConnectOptions,
    event_feed::{self, EventStream},
    events::fresh_user,
    eventually,
    stack::{Layout, TIMEOUT},
    workspace,
};
use hyper::{StatusCode, header::HeaderName};
use serde_json::json;
use support::raw_socket::{RawSocket, ServerFrame};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::{
    assertions::{expect_close, expect_error_close, expect_no_further_frames},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_user_at_the_connection_limit_is_refused_until_a_connection_closes,
    half_open_connections_at_the_limit_are_replaced_within_seconds,
    event_streams_that_a_proxy_reads_for_no_client_make_room_for_new_connections,
    a_message_over_the_size_limit_closes_the_connection,
    a_silent_peer_is_closed_and_a_responsive_one_is_not,
    a_gateway_or_address_at_its_limit_is_refused_until_a_connection_closes,
    the_limit_on_open_files_is_raised_and_one_that_is_too_low_is_logged,
];

async fn a_user_at_the_connection_limit_is_refused_until_a_connection_closes(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(stack.client(&user).await?);
    }
    let mut sixth = stack.connection(0, &user)?.open().await?;
    // The clients answer the pings of the gateway only while they are read.
    let frames = clients.iter_mut().map(|client| client.next_frame(TIMEOUT));
    tokio::select! {
        refused = expect_error_close(&mut sixth, 4000, "QUOTA_EXCEEDED") => refused.map(drop)?,
        frames = join_all(frames) => bail!("expected no frames, got {frames:?}"),
    }
    expect_no_further_frames(stack, &user, &mut clients).await?;
    // One closes with a close frame, one without.
    clients[0].send(Message::Close(None)).await?;
    clients.drain(..2);
    for _ in 0..2 {
        let connected = async || stack.client(&user).await;
        clients.push(eventually("a connection is accepted", TIMEOUT, connected).await?);
    }
    expect_no_further_frames(stack, &user, &mut clients).await?;
    clients.clear();
    stack.wait_for_subscriptions(&user, 0).await
}

async fn half_open_connections_at_the_limit_are_replaced_within_seconds(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { workers: 0, ..Layout::default() }).await?;
    let (gateway, user) = (&stack.gateways[0], fresh_user());
    // Raw sockets do not answer pings.
    let mut silent = Vec::new();
    for _ in 0..5 {
        let token = stack.token(&user)?;
        silent.push(RawSocket::connect_websocket(gateway.address(), &token).await?);
    }
    eventually("all are connected", TIMEOUT, async || {
        let connected = gateway.metric("websocket_active_connections").await?;
        ensure!(connected >= 5.0, "{connected} are connected");
        Ok(())
    })
    .await?;
    let mut client = stack.client(&user).await?;
    for socket in &mut silent {
        let frame = socket.next_frame().await?;
        ensure!(frame == ServerFrame::Close(1013), "expected close code 1013, got {frame:?}");
    }
    client.send_json(&json!({"type": "ping"})).await?;
    let answer = client.next_frame(TIMEOUT).await?;
    ensure!(answer == json!({"type": "pong"}), "expected a pong, got {answer}");
    stack.shut_down_and_check_logs().await
}

async fn event_streams_that_a_proxy_reads_for_no_client_make_room_for_new_connections(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { workers: 0, ..Layout::default() }).await?;
    let (gateway, user) = (&stack.gateways[0], fresh_user());
    let (address, token) = (gateway.address(), stack.token(&user)?);
    let open = async || {
        let mut stream = EventStream::open(address, &token, None).await?;
        stream.next_frame(TIMEOUT).await?;
        anyhow::Ok(stream)
    };
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(open().await?);
    }
    let (status, answer) = event_feed::poll(address, &token, "wait=0").await?;
    ensure!(status == StatusCode::OK, "expected an answer to the poll, got {status}: {answer}");
    streams.push(open().await?);
    let mut client = stack.client(&user).await?;
    client.send_json(&json!({"type": "ping"})).await?;
    let answer = client.next_frame(TIMEOUT).await?;
    ensure!(answer == json!({"type": "pong"}), "expected a pong, got {answer}");
    let left = gateway.metric("gateway_transport_connections{transport=\"event_stream\"}").await?;
    ensure!(left <= 4.0, "expected two of six streams to be replaced, {left} are left");
    stack.shut_down_and_check_logs().await
}

async fn a_message_over_the_size_limit_closes_the_connection(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    client.send(Message::text("x".repeat(4096))).await?;
    client.send(Message::text("x".repeat(4097))).await?;
    expect_close(&mut client, 1009).await?;
    // Two fragments, each below the limit.
    let mut client = stack.client(&user).await?;
    for (opcode, is_final) in [(Data::Text, false), (Data::Continue, true)] {
        let fragment = Frame::message("x".repeat(4000), OpCode::Data(opcode), is_final);
        client.send(Message::Frame(fragment)).await?;
    }
    expect_close(&mut client, 1009).await.map(drop)
}

async fn a_silent_peer_is_closed_and_a_responsive_one_is_not(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![("WEBSOCKET_PING_INTERVAL", "200ms".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let (silent, responsive) = (fresh_user(), fresh_user());
    // A client answers pings only while it reads.
    let silent_client = stack.client(&silent).await?;
    let mut responsive_client = stack.client(&responsive).await?;
    let reading = tokio::spawn(async move { responsive_client.next_notification(TIMEOUT).await });
    stack.wait_for_subscriptions(&silent, 0).await?;
    stack.publish(&responsive, r#"{"event":"marker"}"#).await?;
    let frame = reading.await??;
    ensure!(frame["event"] == "marker", "expected the marker, got {frame}");
    drop(silent_client);
    stack.shut_down_and_check_logs().await
}

async fn a_gateway_or_address_at_its_limit_is_refused_until_a_connection_closes(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![
        ("MAX_CONNECTIONS", "2".to_owned()),
        ("MAX_CONNECTIONS_PER_ADDRESS", "1".to_owned()),
        ("TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let from = |forwarded: &str| -> anyhow::Result<ConnectOptions> {
        let forwarded_for = HeaderName::from_static("x-forwarded-for");
        Ok(stack.connection(0, &fresh_user())?.header(forwarded_for, forwarded))
    };
    let first = from("192.0.2.1")?.open().await?;
    // The proxy appends to what the client itself has sent.
    let status = from("198.51.100.9, 192.0.2.1")?.refused_status().await?;
    ensure!(status == 429, "expected status 429 at the limit per address, got {status}");
    let mut second = from("192.0.2.2")?.open().await?;
    second.expect_authenticated(TIMEOUT).await?;
    let status = from("192.0.2.3")?.refused_status().await?;
    ensure!(status == 503, "expected status 503 at the limit of the gateway, got {status}");
    drop(first);
    let reconnected = async || from("192.0.2.1")?.open().await;
    eventually("a connection is accepted", TIMEOUT, reconnected).await?;
    stack.shut_down_and_check_logs().await
}

async fn the_limit_on_open_files_is_raised_and_one_that_is_too_low_is_logged(
    context: &Context,
) -> anyhow::Result<()> {
    // More than any system allows.
    let gateway_settings = vec![("MAX_CONNECTIONS", "4000000000".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let mut stack = context.own_stack(&layout).await?;
    let (folder, program) =
        (workspace::temporary("limits-")?, workspace::binary("ws-gateway")?.display().to_string());
    // As some container runtimes start processes.
    let script = folder.path().join("ws-gateway");
    std::fs::write(&script, format!("#!/bin/sh\nulimit -Sn 256\nexec '{program}'\n"))?;
    std::fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    let gateway = &mut stack.gateways[0];
    gateway.replace(script).await?;
    let limit = gateway.metric("process_max_fds").await?;
    ensure!(limit > 256.0, "expected a limit above 256 open files, got {limit}");
    let log = gateway.log()?;
    let warning = "the limit on open files is lower than MAX_CONNECTIONS";
    ensure!(log.contains(warning), "expected {warning:?} in {log}");
    stack.shut_down_and_check_logs().await
}
