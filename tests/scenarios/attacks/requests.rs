//! HTTP requests that never end, hide a second request, or are not HTTP.

use std::time::Duration;

use anyhow::ensure;
use harness::{
    client::{ConnectOptions, Transport},
    events::fresh_user,
    eventually,
    stack::{Layout, TIMEOUT},
    token,
};
use support::raw_socket::{RawSocket, upgrade_request};
use tokio::time::{Instant, interval};

use super::{MAX_GROWTH, memory};
use crate::{context::Context, runner::scenarios};

scenarios![
    a_request_sent_byte_by_byte_is_closed_at_the_handshake_timeout,
    endless_headers_are_closed_in_bounded_memory,
    a_request_smuggled_in_another_is_not_executed,
    an_upgrade_that_breaks_a_rule_of_http_gets_400,
    a_request_that_is_not_http_is_refused,
    oversized_targets_and_headers_are_refused_with_their_status,
    a_large_cookie_and_a_large_token_fit_into_the_default_head,
];

async fn a_request_sent_byte_by_byte_is_closed_at_the_handshake_timeout(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![("HANDSHAKE_TIMEOUT", "1s".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let (mut socket, started) =
        (RawSocket::connect(stack.gateways[0].address()).await?, Instant::now());
    let mut ticks = interval(Duration::from_millis(50));
    for byte in upgrade_request("/ws").bytes().cycle() {
        ticks.tick().await;
        // The kernel accepts one byte after the gateway has closed, and answers it with a reset.
        if socket.send(&[byte]).await.is_err() {
            break;
        }
        ensure!(started.elapsed() < TIMEOUT, "the connection is still open");
    }
    stack.shut_down_and_check_logs().await
}

async fn endless_headers_are_closed_in_bounded_memory(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { workers: 0, ..Layout::default() }).await?;
    let before = memory(&stack).await?;
    for line in ["x-endless: 0123456789abcdef\r\n", "x"] {
        let mut socket = RawSocket::connect(stack.gateways[0].address()).await?;
        socket.send(b"GET /ws HTTP/1.1\r\nHost: a\r\n").await?;
        let part = line.repeat(8192 / line.len());
        let mut sent = 0;
        while socket.send(part.as_bytes()).await.is_ok() {
            sent += part.len();
            // Far more than the socket buffers of both sides hold.
            ensure!(sent < 64 << 20, "the connection is still open after {sent} bytes");
        }
    }
    let growth = memory(&stack).await? - before;
    ensure!(growth < MAX_GROWTH, "memory grew by {growth} bytes");
    stack.shut_down_and_check_logs().await
}

async fn a_request_smuggled_in_another_is_not_executed(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let hidden = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = hidden.len();
    let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    for request in [
        format!(
            "POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{hidden}"
        ),
        format!(
            "POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunk}"
        ),
        format!(
            "POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: {length}\r\n\r\n{hidden}"
        ),
        format!(
            "POST /ws HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nConnection: close\r\n\r\n{chunk}"
        ),
        format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nX: a\r\n Content-Length: {length}\r\nConnection: close\r\n\r\n"
        ),
    ] {
        let mut socket = RawSocket::connect(stack.gateways[0].address()).await?;
        socket.send(request.as_bytes()).await?;
        let answer = String::from_utf8_lossy(&socket.read_to_end().await?).into_owned();
        ensure!(answer.matches("HTTP/1.1 ").count() <= 1, "{request:?}: two answers: {answer}");
        ensure!(!answer.contains("healthy"), "{request:?}: executed: {answer}");
    }
    // Bytes after an upgrade are WebSocket frames, also if they look like a request.
    let target = format!("/ws?token={}", stack.token(&fresh_user())?);
    let mut socket = RawSocket::connect(stack.gateways[0].address()).await?;
    socket.send((upgrade_request(&target) + hidden).as_bytes()).await?;
    let head = socket.response_head().await?;
    ensure!(head.starts_with("HTTP/1.1 101 "), "expected status 101, got {head}");
    let rest = socket.read_to_end().await?;
    let is_http = rest.windows(5).any(|bytes| bytes == b"HTTP/");
    ensure!(!is_http, "a request after the upgrade was answered: {rest:?}");
    Ok(())
}

async fn an_upgrade_that_breaks_a_rule_of_http_gets_400(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let valid = upgrade_request(&format!("/ws?token={}", stack.token(&fresh_user())?));
    let with = |headers: &str| valid.replacen("\r\n\r\n", &format!("\r\n{headers}\r\n\r\n"), 1);
    for (name, request) in [
        ("HTTP/1.0", valid.replacen("HTTP/1.1", "HTTP/1.0", 1)),
        ("no Host", valid.replacen("Host: gateway\r\n", "", 1)),
        ("two Hosts", with("Host: other")),
        ("a length", with("Content-Length: 3")),
        ("chunks and a length", with("Transfer-Encoding: chunked\r\nContent-Length: 3")),
    ] {
        let mut socket = RawSocket::connect(stack.gateways[0].address()).await?;
        socket.send(request.as_bytes()).await?;
        let head = socket.response_head().await?;
        ensure!(head.contains(" 400 "), "{name}: expected status 400, got {head}");
    }
    Ok(())
}

async fn a_request_that_is_not_http_is_refused(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for request in [
        &b"GET /ws\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /ws HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n\r\n",
    ] {
        let mut socket = RawSocket::connect(stack.gateways[0].address()).await?;
        socket.send(request).await?;
        let answer = String::from_utf8_lossy(&socket.read_to_end().await?).into_owned();
        let is_accepted = answer.contains(" 101 ") || answer.contains(" 200 ");
        ensure!(!is_accepted, "{request:?}: expected a refusal, got {answer}");
    }
    Ok(())
}

async fn oversized_targets_and_headers_are_refused_with_their_status(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let connection = stack.connection(0, &fresh_user())?;
    let status = connection.query("categories", &"x".repeat(8_200)).refused_status().await?;
    ensure!(status == 414, "expected status 414, got {status}");
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let connection = connection.token(&"x".repeat(33 << 10), Transport::Header);
    let status = connection.refused_status().await?;
    ensure!(status == 431, "expected status 431, got {status}");
    for refused in ["query_too_long", "head_too_large"] {
        let series = format!("websocket_connections_total{{status=\"{refused}\"}}");
        eventually("the refusal is counted", TIMEOUT, async || {
            ensure!(stack.gateways[0].metric(&series).await? > 0.0, "{series} is 0");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn a_large_cookie_and_a_large_token_fit_into_the_default_head(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let mut claims = token::claims(&fresh_user(), 3600);
    claims["groups"] = "x".repeat(2_900).into();
    let token = token::sign(&claims, &stack.secret)?;
    ensure!(token.len() > 4_000, "the token has {} bytes", token.len());
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let connection = connection.token(&token, Transport::Subprotocol);
    let connection = connection.header(hyper::header::COOKIE, &"x".repeat(12 << 10));
    connection.open().await?.expect_authenticated(TIMEOUT).await.map(drop)
}
