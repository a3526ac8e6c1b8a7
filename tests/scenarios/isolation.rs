//! A misbehaving user, or unreadable data of one user, does not delay the frames of another.

use std::{cell::Cell, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use harness::{
    client::Client,
    events::fresh_user,
    eventually,
    redis::stream_key,
    stack::{Layout, Stack, TIMEOUT},
};
use http_body_util::Full;
use hyper::Response;
use redis::{aio::MultiplexedConnection, cmd};
use serde_json::json;
use support::{
    issuer::Issuer,
    raw_socket::{RawSocket, client_frame},
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    context::Context,
    runner::scenarios,
    signing_keys::{KeyPair, gateway_with},
};

scenarios![
    new_users_whose_position_redis_refuses_delay_no_other_user,
    a_stream_with_entries_from_the_future_delays_no_other_user,
    floods_of_empty_fragments_delay_no_other_user,
    resumes_by_clients_that_do_not_read_delay_no_other_user,
    a_slow_issuer_delays_neither_the_renewing_user_nor_others,
];

/// Duration of each disturbance.
const DISTURBANCE: Duration = Duration::from_secs(4);

/// Time between two frames.
const INTERVAL: Duration = Duration::from_millis(10);

/// How much later a frame may arrive than before: far less than a lost session or a blocked task
/// costs.
const ALLOWANCE: Duration = Duration::from_millis(150);

/// A user whose frames have to arrive at any time.
struct OtherUser<'a> {
    stack: &'a Stack,
    user: String,
    client: Client,
    redis: MultiplexedConnection,
}

impl<'a> OtherUser<'a> {
    async fn connect(stack: &'a Stack) -> anyhow::Result<Self> {
        let user = fresh_user();
        let (client, redis) = (stack.client(&user).await?, stack.redis.connection().await?);
        Ok(Self { stack, user, client, redis })
    }

    /// Publishes a frame and returns how long it takes to arrive.
    async fn latency(&mut self) -> anyhow::Result<Duration> {
        let frame = json!({"event": "probe", "data": {"nonce": fresh_user()}});
        let published = Instant::now();
        let mut publish = cmd("PUBLISH");
        publish.arg(format!("ws:{}", self.user)).arg(frame.to_string());
        publish.exec_async(&mut self.redis).await?;
        let received = self.client.next_notification(TIMEOUT).await?;
        ensure!(received == frame, "expected {frame}, got {received}");
        Ok(published.elapsed())
    }

    /// Returns the 90th percentile of the latency during `other`.
    async fn p90_during(
        &mut self,
        other: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Duration> {
        let is_over = Cell::new(false);
        let measure = async {
            let mut latencies = Vec::new();
            while !is_over.get() {
                latencies.push(self.latency().await?);
                sleep(INTERVAL).await;
            }
            anyhow::Ok(latencies)
        };
        let other = async {
            let result = other.await;
            is_over.set(true);
            result
        };
        let (latencies, other) = tokio::join!(measure, other);
        other?;
        let mut latencies = latencies?;
        latencies.sort_unstable();
        latencies.get(latencies.len() * 9 / 10).copied().context("no frame was published")
    }

    /// Checks that frames arrive during `disturbance` about as soon as before, in the same session.
    async fn expect_no_delay(
        &mut self,
        name: &str,
        disturbance: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let gateway = &self.stack.gateways[0];
        let quiet = async {
            sleep(Duration::from_secs(1)).await;
            Ok(())
        };
        let before = self.p90_during(quiet).await?;
        let outages = gateway.metric("gateway_redis_outages_total").await?;
        let during = self.p90_during(disturbance).await?;
        println!("{name}: p90 {before:?} before, {during:?} meanwhile");
        ensure!(during < 4 * before + ALLOWANCE, "p90 {before:?} before, {during:?} meanwhile");
        let outages = gateway.metric("gateway_redis_outages_total").await? - outages;
        ensure!(outages < 1.0, "{outages} sessions with Redis ended");
        Ok(())
    }
}

async fn gateway(context: &Context) -> anyhow::Result<Stack> {
    context.own_stack(&Layout { workers: 0, ..Layout::default() }).await
}

/// Repeats `disturbance` for [`DISTURBANCE`].
async fn repeat(mut disturbance: impl AsyncFnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < DISTURBANCE {
        // Boxed: the futures of clients are large.
        Box::pin(disturbance()).await?;
    }
    Ok(())
}

async fn new_users_whose_position_redis_refuses_delay_no_other_user(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = gateway(context).await?;
    let mut other = OtherUser::connect(&stack).await?;
    let mut redis = stack.redis.connection().await?;
    cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec_async(&mut redis).await?;
    let disturbance = repeat(async || stack.client(&fresh_user()).await.map(drop));
    other.expect_no_delay("out of memory", disturbance).await?;
    cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).exec_async(&mut redis).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_stream_with_entries_from_the_future_delays_no_other_user(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = gateway(context).await?;
    let (user, mut redis) = (fresh_user(), stack.redis.connection().await?);
    let mut add = async |id: String| {
        let mut xadd = cmd("XADD");
        xadd.arg(stream_key(&user)).arg(id).arg("n").arg("{\"event\":\"e\"}");
        xadd.exec_async(&mut redis).await
    };
    add("1-1".into()).await?;
    let _client = stack.client(&user).await?;
    for number in 0..200 {
        add(format!("99999999999999-{number}")).await?;
    }
    let mut other = OtherUser::connect(&stack).await?;
    // The gateway reads the missed entries of all users in a new session.
    cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).exec_async(&mut redis).await?;
    eventually("a session has ended", TIMEOUT, async || {
        let outages = stack.gateways[0].metric("gateway_redis_outages_total").await?;
        ensure!(outages > 0.0, "none has");
        Ok(())
    })
    .await?;
    stack.wait_for_subscriptions(&other.user, 1).await?;
    let disturbance = repeat(async || stack.client(&user).await.map(drop));
    other.expect_no_delay("entries from the future", disturbance).await?;
    stack.shut_down_and_check_logs().await
}

async fn floods_of_empty_fragments_delay_no_other_user(context: &Context) -> anyhow::Result<()> {
    let stack = gateway(context).await?;
    let mut other = OtherUser::connect(&stack).await?;
    let flood = async || {
        let token = stack.token(&fresh_user())?;
        let address = stack.gateways[0].address();
        let mut socket = RawSocket::connect_websocket(address, &token).await?;
        socket.send(&client_frame(0x01, b"")).await?;
        let fragments = client_frame(0x00, b"").repeat(10_000);
        let sending = async {
            loop {
                socket.send(&fragments).await?;
            }
        };
        // The gateway stops reading, so that the buffers between both ends are full soon.
        let ended: Result<anyhow::Result<()>, _> = timeout(DISTURBANCE, sending).await;
        ensure!(ended.is_err(), "the connection ended: {ended:?}");
        Ok(())
    };
    let disturbance = async { try_join_all((0..4).map(|_| flood())).await.map(drop) };
    other.expect_no_delay("empty fragments", disturbance).await?;
    stack.shut_down_and_check_logs().await
}

async fn resumes_by_clients_that_do_not_read_delay_no_other_user(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = gateway(context).await?;
    let (user, mut redis) = (fresh_user(), stack.redis.connection().await?);
    let text = format!(r#"{{"event":"e","data":"{}"}}"#, "x".repeat(96 << 10));
    for number in 1..=256 {
        let mut xadd = cmd("XADD");
        xadd.arg(stream_key(&user)).arg(format!("{number}-0")).arg("n").arg(&text);
        xadd.exec_async(&mut redis).await?;
    }
    let mut other = OtherUser::connect(&stack).await?;
    let resume = stack.connection(0, &user)?.query("last_event_id", "1-0");
    let disturbance = repeat(async || {
        let clients = (0..5).map(|_| resume.open());
        let clients = try_join_all(clients).await?;
        sleep(Duration::from_millis(500)).await;
        drop(clients);
        Ok(())
    });
    other.expect_no_delay("resumes that are not read", disturbance).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_slow_issuer_delays_neither_the_renewing_user_nor_others(
    context: &Context,
) -> anyhow::Result<()> {
    let [pair, _] = KeyPair::old_and_new()?;
    let set = json!({"keys": [pair.jwk()?]}).to_string();
    let respond = move |_: &str| Response::new(Full::new(Bytes::from(set.clone())));
    let issuer = Issuer::start(None, DISTURBANCE, respond).await?;
    let algorithms = ("JWT_ALGORITHM", "HS256,EdDSA".to_owned());
    let settings = vec![("JWT_JWKS_URL", issuer.url("/keys")), algorithms];
    let stack = gateway_with(context, settings).await?;
    let renewal = || anyhow::Ok(json!({"type": "auth", "token": pair.token("unknown")?}));
    let mut others =
        try_join_all((0..5).map(|_| async { stack.client(&fresh_user()).await })).await?;
    let mut other = OtherUser::connect(&stack).await?;
    other.client.send_json(&renewal()?).await?;
    let disturbance = async {
        for other in &mut others {
            other.send_json(&renewal()?).await?;
        }
        sleep(DISTURBANCE).await;
        Ok(())
    };
    other.expect_no_delay("slow issuer", disturbance).await?;
    stack.shut_down_and_check_logs().await
}
