//! A subscription that stays connected but receives nothing any more.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::fresh_user,
    eventually, http,
    redis::Redis,
    stack::{Layout, TIMEOUT},
    workspace,
};
use redis::cmd;
use serde_json::json;

use crate::{context::Context, runner::scenarios};

scenarios![a_subscription_at_a_former_master_is_detected_within_10_s];

/// After a failover behind an unchanged address, open connections stay at the former master, while
/// new ones and all publishers use the new one.
async fn a_subscription_at_a_former_master_is_detected_within_10_s(
    context: &Context,
) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, proxied: true, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let folder = workspace::temporary("redis-")?;
    let new = Redis::start(folder.path()).await?;
    let proxies = stack.redis_proxies.as_ref().context("the stack has proxies")?;
    proxies.gateway.set_server(new.address());
    let gateway = &stack.gateways[0];
    eventually("the gateway has left the former master", Duration::from_secs(10), async || {
        let outages = gateway.metric("gateway_redis_outages_total").await?;
        ensure!(outages > 0.0, "expected gateway_redis_outages_total above 0");
        Ok(())
    })
    .await?;
    let lost = gateway.metric("gateway_redis_probes_total{result=\"lost\"}").await?;
    ensure!(lost >= 2.0, "expected at least 2 lost probes, got {lost}");
    let frame = json!({"event": "e", "data": {}});
    eventually("a frame arrives through the new master", TIMEOUT, async || {
        let mut publish = cmd("PUBLISH");
        publish.arg(format!("ws:{user}")).arg(frame.to_string());
        let receivers: u64 = publish.query_async(&mut new.connection().await?).await?;
        ensure!(receivers == 1, "expected one subscribed gateway, got {receivers}");
        Ok(())
    })
    .await?;
    let received = client.next_notification(TIMEOUT).await?;
    ensure!(received == frame, "expected {frame}, got {received}");
    let connected = gateway.metric("gateway_redis_connected").await?;
    ensure!(connected > 0.0, "expected gateway_redis_connected 1, got {connected}");
    let (status, conditions) = http::get(gateway.admin(), "/readyz").await?;
    let is_ready = status == 200 && conditions.contains("\"redis_session\":true");
    ensure!(is_ready, "expected 200 with redis_session, got {status} {conditions}");
    stack.shut_down_and_check_logs().await
}
