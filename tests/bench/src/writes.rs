//! Writes per low-priority frame, against frames that are not delayed.

use std::time::Duration;

use anyhow::Context as _;
use harness::{http, service::Service, stack::Stack};
use load::processes::ClientProcesses;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    env::{self, CONNECT, Env},
    figure::{Figure, Goal},
};

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let (sockets, texts) = env.pick((5, 10), (200, 100));
    env.on_stack((0, 1), async |stack| {
        let standard = writes_per_frame(stack, sockets, texts, "standard").await?;
        let low = writes_per_frame(stack, sockets, texts, "low").await?;
        Ok(vec![
            Figure::new("writes_per_low_priority_frame", "writes/frame", vec![low], Goal::Report)
                .with_limit(standard)
                .with_note("20 frames per second and socket; limit: standard priority"),
        ])
    })
    .await
}

/// Returns flushes, each one a system call, per frame, as counted by the gateway.
async fn writes_per_frame(
    stack: &Stack,
    sockets: usize,
    texts: u64,
    priority: &str,
) -> anyhow::Result<f64> {
    let mut redis = stack.redis.connection().await?;
    let mut clients = ClientProcesses::start(env::plan(stack, sockets)).await?;
    clients.connect(CONNECT).await?;
    let before = counts(&stack.gateways[0]).await?;
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..texts {
        ticks.tick().await;
        env::publish_round(&mut redis, &clients.plan, number, (priority, 0)).await?;
    }
    env::arrived(&clients, texts * sockets as u64).await?;
    let after = counts(&stack.gateways[0]).await?;
    clients.finish(texts * sockets as u64).await?;
    Ok((after.0 - before.0) / (after.1 - before.1).max(1.0))
}

/// Returns how many flushes and frames the gateway has counted.
pub(crate) async fn counts(gateway: &Service) -> anyhow::Result<(f64, f64)> {
    let page = gateway.metrics().await?;
    let count = |series| http::metric(&page, series).with_context(|| format!("no {series}"));
    Ok((count("gateway_queue_seconds_count")?, count("websocket_messages_sent_total")?))
}
