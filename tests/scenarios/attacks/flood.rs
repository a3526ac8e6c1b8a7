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
    users_behind_the_address_of_a_flood_without_good_tokens_connect,
    users_behind_the_address_of_a_user_who_reconnects_without_a_pause_connect,
];

const HALF_OPEN: u16 = 10_000;
const SLOW: u16 = 1_000;
/// Clients that connect one after another during the flood, and as many after it.
const CLIENTS: usize = 20;
/// Connections of one address that reconnect after each refusal.
const RECONNECTING: usize = 4;
/// Handshakes of users, at half the rate of the limit.
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

/// A gateway that accepts 200 handshakes a second.
async fn limited_gateway(context: &Context) -> anyhow::Result<Stack> {
    let gateway_settings = vec![("MAX_HANDSHAKES_PER_SECOND", "200".to_owned())];
    context.own_stack(&Layout { workers: 0, gateway_settings, ..Layout::default() }).await
}

/// Connections that request `target` again after each answer, until the gateway refuses some as
/// `status`.
async fn reconnecting(stack: &Stack, target: &str, status: &str) -> anyhow::Result<JoinSet<()>> {
    let (server, request) = (stack.gateways[0].address(), upgrade_request(target));
    let mut attackers = JoinSet::new();
    for _ in 0..RECONNECTING {
        let request = request.clone();
        attackers.spawn(async move { while request_once(server, &request).await.is_ok() {} });
    }
    eventually("the attackers are refused", TIMEOUT, async || {
        ensure!(refused(stack, status).await? > 0.0, "no handshake was refused");
        Ok(())
    })
    .await?;
    Ok(attackers)
}

async fn request_once(server: SocketAddr, request: &str) -> anyhow::Result<()> {
    let mut socket = RawSocket::connect(server).await?;
    socket.send(request.as_bytes()).await?;
    socket.response_head().await.map(drop)
}

async fn refused(stack: &Stack, status: &str) -> anyhow::Result<f64> {
    let series = format!("websocket_connections_total{{status=\"{status}\"}}");
    stack.gateways[0].metric(&series).await
}

/// Checks that users connect at the first try, at half the rate of the limit, while the attackers go
/// on. `address` returns the loopback address of each.
async fn expect_users_connect(
    stack: &Stack,
    mut attackers: JoinSet<()>,
    address: impl Fn(u8) -> [u8; 4],
) -> anyhow::Result<()> {
    let mut ticks = interval(HANDSHAKE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1..=HANDSHAKES {
        ticks.tick().await;
        let target = format!("/ws?token={}", stack.token(&fresh_user())?);
        let server = stack.gateways[0].address();
        let mut socket = RawSocket::connect_from(address(number), server).await?;
        socket.send(upgrade_request(&target).as_bytes()).await?;
        let head = socket.response_head().await?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "handshake {number}: {head}");
    }
    ensure!(attackers.try_join_next().is_none(), "an attacker has ended");
    attackers.shutdown().await;
    Ok(())
}

async fn an_address_that_reconnects_without_a_pause_leaves_handshakes_for_others(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = limited_gateway(context).await?;
    let attackers = reconnecting(&stack, "/ws", "address_rate_limited").await?;
    expect_users_connect(&stack, attackers, |number| [127, 2, 0, number]).await?;
    let refused = refused(&stack, "address_rate_limited").await?;
    println!("{refused} handshakes of the attackers were refused");
    stack.shut_down_and_check_logs().await
}

/// As behind the address that a school has for all its devices.
async fn users_behind_the_address_of_a_flood_without_good_tokens_connect(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = limited_gateway(context).await?;
    for target in ["/ws", "/ws?token=a.b.c"] {
        let attackers = reconnecting(&stack, target, "address_rate_limited").await?;
        expect_users_connect(&stack, attackers, |_| [127, 0, 0, 1]).await?;
    }
    stack.shut_down_and_check_logs().await
}

async fn users_behind_the_address_of_a_user_who_reconnects_without_a_pause_connect(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = limited_gateway(context).await?;
    let target = format!("/ws?token={}", stack.token(&fresh_user())?);
    let attackers = reconnecting(&stack, &target, "user_rate_limited").await?;
    expect_users_connect(&stack, attackers, |_| [127, 0, 0, 1]).await?;
    let refused = refused(&stack, "address_rate_limited").await?;
    ensure!(refused < 1.0, "{refused} handshakes were refused because of their address");
    stack.shut_down_and_check_logs().await
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
