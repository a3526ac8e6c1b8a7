//! Many connections that want nothing but to keep others out.

use std::{
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use harness::{
    events::fresh_user,
    stack::{Layout, Stack, TIMEOUT},
};
use support::raw_socket::{RawSocket, upgrade_request};
use tokio::{sync::watch, task::JoinSet, time::interval};

use super::count;
use crate::{context::Context, runner::scenarios};

scenarios![ten_thousand_half_open_handshakes_and_a_thousand_slow_senders,];

const HALF_OPEN: u16 = 10_000;
const SLOW: u16 = 1_000;
/// How many good clients connect meanwhile, one after the other.
const GOOD: usize = 20;
/// How many connections are being opened at a time.
const AT_ONCE: usize = 256;

async fn ten_thousand_half_open_handshakes_and_a_thousand_slow_senders(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![("HANDSHAKE_TIMEOUT", "60s".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let server = stack.gateways[0].address();
    let senders = slow_senders(server).await?;
    // The flood goes on while the good clients come.
    let (flooding, mut flood_began) = watch::channel(false);
    let flood = tokio::spawn(async move {
        let open = half_open(server, SLOW..SLOW + HALF_OPEN);
        open.inspect(|_| flooding.send_modify(|began| *began = true))
            .try_collect::<Vec<RawSocket>>()
            .await
    });
    flood_began.changed().await.context("the flood begins")?;
    let mut times = Vec::new();
    for _ in 0..GOOD {
        times.push(good_client(&stack).await?);
    }
    let half_open = flood.await??;
    ensure!(half_open.len() == usize::from(HALF_OPEN), "all are opened");
    for _ in 0..GOOD {
        times.push(good_client(&stack).await?);
    }
    judge(&stack, times).await?;
    drop((half_open, senders));
    stack.shut_down_and_check_logs().await
}

/// Connections that have begun a request and say no more, each from an address of its own.
fn half_open(
    server: SocketAddr,
    numbers: Range<u16>,
) -> impl Stream<Item = anyhow::Result<RawSocket>> + Send {
    let connect = move |number: u16| async move {
        let [high, low] = number.to_be_bytes();
        let mut raw = RawSocket::connect_from([127, 1, high, low.max(1)], server).await?;
        raw.send(b"GET /ws HTTP/1.1\r\nHost: gateway\r\nX-Half: ").await?;
        anyhow::Ok(raw)
    };
    stream::iter(numbers).map(connect).buffer_unordered(AT_ONCE)
}

/// Connections whose requests never end; they end when the result is dropped.
async fn slow_senders(server: SocketAddr) -> anyhow::Result<JoinSet<()>> {
    let slow: Vec<RawSocket> = half_open(server, 0..SLOW).try_collect().await?;
    let mut senders = JoinSet::new();
    for mut raw in slow {
        senders.spawn(async move {
            let mut pace = interval(Duration::from_millis(500));
            loop {
                pace.tick().await;
                if raw.send(b"x").await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(senders)
}

async fn judge(stack: &Stack, mut times: Vec<Duration>) -> anyhow::Result<()> {
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let evicted = count(stack, "websocket_connections_total{status=\"evicted\"}").await?;
    println!(
        "a good client beside {HALF_OPEN} half-open handshakes and {SLOW} slow senders: median \
         {median:?}, worst {worst:?} of {}; {evicted} evicted",
        times.len()
    );
    ensure!(median < Duration::from_secs(1), "the median was {median:?}");
    ensure!(evicted > 0.0, "no pending connection was evicted");
    Ok(())
}

/// How long it takes to be answered with a handshake.
async fn good_client(stack: &Stack) -> anyhow::Result<Duration> {
    let target = format!("/ws?token={}", stack.token(&fresh_user())?);
    let begun = Instant::now();
    let answered = async {
        let mut raw = RawSocket::connect(stack.gateways[0].address()).await?;
        raw.send(upgrade_request(&target).as_bytes()).await?;
        raw.response_head().await
    };
    let head = tokio::time::timeout(TIMEOUT, answered).await.context("a good client")??;
    ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Ok(begun.elapsed())
}
