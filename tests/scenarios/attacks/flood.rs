//! Floods of connections that never complete their handshake, or whose handshake is refused.

use std::{
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use harness::{
    events::fresh_user,
    eventually,
    stack::{Layout, Stack, TIMEOUT},
};
use support::raw_socket::{RawSocket, upgrade_request};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{context::Context, runner::scenarios};

scenarios![
    clients_connect_within_a_second_during_a_flood_of_incomplete_handshakes,
    an_address_that_reconnects_without_a_pause_leaves_handshakes_for_others,
];

const HALF_OPEN: u16 = 10_000;
const SLOW: u16 = 1_000;
/// Clients that connect one after another during the flood, and as many after it.
const CLIENTS: usize = 20;
/// Connections of one address that reconnect after each refusal.
const RECONNECTING: usize = 4;
/// Handshakes of other addresses, at half the rate of the limit.
const HANDSHAKES: u8 = 150;
const HANDSHAKE_INTERVAL: Duration = Duration::from_millis(10);
/// Connections of the flood that are opened concurrently.
const CONCURRENT_CONNECTS: usize = 256;

async fn clients_connect_within_a_second_during_a_flood_of_incomplete_handshakes(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![("HANDSHAKE_TIMEOUT", "60s".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let server = stack.gateways[0].address();
    let _senders = slow_senders(server).await?;
    let (started, mut has_started) = watch::channel(false);
    let flood = tokio::spawn(async move {
        let connections = half_open(server, SLOW..SLOW + HALF_OPEN);
        connections
            .inspect(|_| {
                started.send_replace(true);
            })
            .try_collect::<Vec<_>>()
            .await
    });
    has_started.changed().await.context("the flood has failed")?;
    let mut latencies = Vec::new();
    for _ in 0..CLIENTS {
        latencies.push(handshake_latency(&stack).await?);
    }
    let half_open = flood.await??;
    ensure!(half_open.len() == usize::from(HALF_OPEN), "only {} are open", half_open.len());
    for _ in 0..CLIENTS {
        latencies.push(handshake_latency(&stack).await?);
    }
    latencies.sort_unstable();
    let (median, max) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    let evicted = r#"websocket_connections_total{status="evicted"}"#;
    let evicted = stack.gateways[0].metric(evicted).await?;
    println!(
        "handshake during {HALF_OPEN} half-open and {SLOW} slow ones: median {median:?}, max \
         {max:?} of {}; {evicted} evicted",
        latencies.len()
    );
    ensure!(median < Duration::from_secs(1), "expected a median below 1 s, got {median:?}");
    ensure!(evicted > 0.0, "no pending connection was evicted");
    stack.shut_down_and_check_logs().await
}

/// Opens connections that send half a request, each from an address of its own.
fn half_open(
    server: SocketAddr,
    numbers: Range<u16>,
) -> impl Stream<Item = anyhow::Result<RawSocket>> + Send {
    let connect = move |number: u16| async move {
        let [high, low] = number.to_be_bytes();
        let mut socket = RawSocket::connect_from([127, 1, high, low.max(1)], server).await?;
        socket.send(b"GET /ws HTTP/1.1\r\nHost: gateway\r\nX-Half: ").await?;
        anyhow::Ok(socket)
    };
    stream::iter(numbers).map(connect).buffer_unordered(CONCURRENT_CONNECTS)
}

/// Opens connections that send a byte of their request every 500 ms until the tasks are dropped.
async fn slow_senders(server: SocketAddr) -> anyhow::Result<JoinSet<()>> {
    let sockets: Vec<RawSocket> = half_open(server, 0..SLOW).try_collect().await?;
    let mut senders = JoinSet::new();
    for mut socket in sockets {
        senders.spawn(async move {
            let mut ticks = interval(Duration::from_millis(500));
            loop {
                ticks.tick().await;
                if socket.send(b"x").await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(senders)
}

async fn an_address_that_reconnects_without_a_pause_leaves_handshakes_for_others(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![("MAX_HANDSHAKES_PER_SECOND", "200".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let gateway = &stack.gateways[0];
    let mut attackers = JoinSet::new();
    for _ in 0..RECONNECTING {
        attackers.spawn(reconnect_without_token(gateway.address()));
    }
    let refused = r#"websocket_connections_total{status="address_rate_limited"}"#;
    eventually("the attackers are refused", TIMEOUT, async || {
        ensure!(gateway.metric(refused).await? > 0.0, "no handshake was refused");
        Ok(())
    })
    .await?;
    let target = format!("/ws?token={}", stack.token(&fresh_user())?);
    let mut ticks = interval(HANDSHAKE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1..=HANDSHAKES {
        ticks.tick().await;
        let mut socket = RawSocket::connect_from([127, 2, 0, number], gateway.address()).await?;
        socket.send(upgrade_request(&target).as_bytes()).await?;
        let head = socket.response_head().await?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "handshake {number}: {head}");
    }
    println!("{} handshakes of the attackers were refused", gateway.metric(refused).await?);
    ensure!(attackers.try_join_next().is_none(), "an attacker has ended");
    attackers.shutdown().await;
    stack.shut_down_and_check_logs().await
}

/// Sends a handshake without a token after each refusal.
async fn reconnect_without_token(server: SocketAddr) -> anyhow::Result<()> {
    loop {
        let mut socket = RawSocket::connect(server).await?;
        socket.send(upgrade_request("/ws").as_bytes()).await?;
        socket.response_head().await?;
    }
}

async fn handshake_latency(stack: &Stack) -> anyhow::Result<Duration> {
    let target = format!("/ws?token={}", stack.token(&fresh_user())?);
    let started = Instant::now();
    let answer = async {
        let mut socket = RawSocket::connect(stack.gateways[0].address()).await?;
        socket.send(upgrade_request(&target).as_bytes()).await?;
        socket.response_head().await
    };
    let head = timeout(TIMEOUT, answer).await.context("no answer to the handshake")??;
    ensure!(head.starts_with("HTTP/1.1 101 "), "expected status 101, got {head}");
    Ok(started.elapsed())
}
