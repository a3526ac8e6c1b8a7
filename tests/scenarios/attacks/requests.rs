//! Requests that never end, or that are two.

use std::time::Duration;

use anyhow::ensure;
use harness::{
    client::Transport,
    events::fresh_user,
    stack::{Layout, TIMEOUT},
};
use support::raw_socket::{RawSocket, upgrade_request};
use tokio::time::{Instant, interval};

use super::memory;
use crate::{context::Context, runner::scenarios};

scenarios![
    headers_that_come_one_byte_at_a_time,
    headers_that_never_end,
    a_request_hidden_in_another,
    a_request_that_is_no_http,
    a_target_that_is_too_long,
    more_connections_from_one_address_than_one_may_have,
];

async fn headers_that_come_one_byte_at_a_time(context: &Context) -> anyhow::Result<()> {
    let gateway_settings = vec![("HANDSHAKE_TIMEOUT", "1s".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let (mut raw, begun) = (RawSocket::connect(stack.gateways[0].address()).await?, Instant::now());
    let mut pace = interval(Duration::from_millis(50));
    for byte in upgrade_request("/ws").bytes().cycle() {
        pace.tick().await;
        // One more after the server has hung up is taken, and answered with a reset.
        if raw.send(&[byte]).await.is_err() {
            break;
        }
        ensure!(begun.elapsed() < TIMEOUT, "it is still listened to");
    }
    stack.shut_down_and_check_logs().await
}

async fn headers_that_never_end(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { workers: 0, ..Layout::default() }).await?;
    let before = memory(&stack).await?;
    for line in ["x-endless: 0123456789abcdef\r\n", "x"] {
        let mut raw = RawSocket::connect(stack.gateways[0].address()).await?;
        raw.send(b"GET /ws HTTP/1.1\r\nHost: a\r\n").await?;
        let part = line.repeat(8192 / line.len());
        let mut said = 0;
        while raw.send(part.as_bytes()).await.is_ok() {
            said += part.len();
            // What the kernels of both sides hold comes on top of what is read.
            ensure!(said < 64 << 20, "it is still listened to after {said} bytes");
        }
    }
    let grown = memory(&stack).await? - before;
    ensure!(grown < f64::from(16 << 20), "it has taken {grown} bytes");
    stack.shut_down_and_check_logs().await
}

async fn a_request_hidden_in_another(context: &Context) -> anyhow::Result<()> {
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
        let mut raw = RawSocket::connect(stack.gateways[0].address()).await?;
        raw.send(request.as_bytes()).await?;
        let answer = String::from_utf8_lossy(&raw.read_to_end().await?).into_owned();
        ensure!(answer.matches("HTTP/1.1 ").count() <= 1, "{request:?} has answers: {answer}");
        ensure!(!answer.contains("healthy"), "{request:?} was obeyed: {answer}");
    }
    // What follows an upgrade is frames, whatever it looks like.
    let target = format!("/ws?token={}", stack.token(&fresh_user())?);
    let mut raw = RawSocket::connect(stack.gateways[0].address()).await?;
    raw.send((upgrade_request(&target) + hidden).as_bytes()).await?;
    ensure!(raw.response_head().await?.starts_with("HTTP/1.1 101 "), "it is an upgrade");
    let rest = raw.read_to_end().await?;
    ensure!(!rest.windows(5).any(|bytes| bytes == b"HTTP/"), "{rest:?}");
    Ok(())
}

async fn a_request_that_is_no_http(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for request in [
        &b"GET /ws\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /ws HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n\r\n",
    ] {
        let mut raw = RawSocket::connect(stack.gateways[0].address()).await?;
        raw.send(request).await?;
        let answer = String::from_utf8_lossy(&raw.read_to_end().await?).into_owned();
        ensure!(!answer.contains(" 101 ") && !answer.contains(" 200 "), "{request:?}: {answer}");
    }
    Ok(())
}

async fn a_target_that_is_too_long(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let connection = stack.connection(0, &fresh_user())?;
    let status = connection.query("categories", &"x".repeat(8_200)).refused_status().await?;
    ensure!(status == 414, "{status}");
    let long = harness::client::ConnectOptions::new(stack.gateways[0].address());
    let status = long.token(&"x".repeat(17 << 10), Transport::Header).refused_status().await?;
    ensure!(status == 431, "{status}");
    Ok(())
}

async fn more_connections_from_one_address_than_one_may_have(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![
        ("MAX_CONNECTIONS_PER_ADDRESS", "1".to_owned()),
        ("TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let from = |forwarded: &str| {
        let connection = stack.connection(0, &fresh_user())?;
        let name = hyper::header::HeaderName::from_static("x-forwarded-for");
        anyhow::Ok(connection.header(name, forwarded))
    };
    let one = from("192.0.2.1")?.open().await?;
    // What the client itself writes stands to the left of what the proxy adds.
    let status = from("198.51.100.9, 192.0.2.1")?.refused_status().await?;
    ensure!(status == 429, "{status}");
    from("192.0.2.2")?.open().await?.expect_authenticated(TIMEOUT).await?;
    drop(one);
    harness::eventually("there is room again", TIMEOUT, async || from("192.0.2.1")?.open().await)
        .await?;
    stack.shut_down_and_check_logs().await
}
