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

scenarios![a_subscription_at_a_server_that_others_have_left_is_detected_within_10_s];

/// A demoted primary behind an unchanged address: open connections stay there, new ones and all
/// publishers go elsewhere.
async fn a_subscription_at_a_server_that_others_have_left_is_detected_within_10_s(
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
    eventually("the gateway has left the old server", Duration::from_secs(10), async || {
        let outages = gateway.metric("gateway_redis_outages_total").await?;
        ensure!(outages > 0.0, "the session goes on");
        Ok(())
    })
    .await?;
    ensure!(gateway.metric("gateway_redis_probes_total{result=\"lost\"}").await? >= 2.0);
    let frame = json!({"event": "e", "data": {}});
    eventually("a frame arrives through the new server", TIMEOUT, async || {
        let mut publish = cmd("PUBLISH");
        publish.arg(format!("ws:{user}")).arg(frame.to_string());
        let receivers: u64 = publish.query_async(&mut new.connection().await?).await?;
        ensure!(receivers == 1, "{receivers} gateways are subscribed");
        Ok(())
    })
    .await?;
    let received = client.next_notification(TIMEOUT).await?;
    ensure!(received == frame, "expected {frame}, got {received}");
    ensure!(gateway.metric("gateway_redis_connected").await? > 0.0);
    let (status, conditions) = http::get(gateway.admin(), "/readyz").await?;
    ensure!(status == 200 && conditions.contains("\"redis_session\":true"), "{conditions}");
    stack.shut_down_and_check_logs().await
}
