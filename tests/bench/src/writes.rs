//! How many writes frames of low priority need, beside those that are written at once.

use std::time::Duration;

use anyhow::Context as _;
use harness::{http, service::Service, stack::Stack};
use load::processes::ClientProcesses;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    figure::{Goal, Row},
    setup::{self, CONNECT, Setup},
};

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let (sockets, texts) = setup.pick((5, 10), (200, 100));
    setup
        .on_stack((0, 1), async |stack| {
            let prompt = writes_per_frame(stack, sockets, texts, "standard").await?;
            let low = writes_per_frame(stack, sockets, texts, "low").await?;
            Ok(vec![
                Row::of("low_frames_writes", "writes/frame", vec![low], Goal::Report)
                    .beside(prompt)
                    .noted(
                        "20 frames a second to each socket; limit: the same of standard priority",
                    ),
            ])
        })
        .await
}

/// Counted by the gateway: flushes, each of which is a system call, and texts.
async fn writes_per_frame(
    stack: &Stack,
    sockets: usize,
    texts: u64,
    priority: &str,
) -> anyhow::Result<f64> {
    let mut redis = stack.redis.connection().await?;
    let mut clients = ClientProcesses::start(setup::plan(stack, sockets)).await?;
    clients.connect(CONNECT).await?;
    let before = counts(&stack.gateways[0]).await?;
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..texts {
        ticks.tick().await;
        setup::publish_round(&mut redis, &clients.plan, number, (priority, 0)).await?;
    }
    setup::arrived(&clients, texts * sockets as u64).await?;
    let after = counts(&stack.gateways[0]).await?;
    clients.finish(texts * sockets as u64).await?;
    Ok((after.0 - before.0) / (after.1 - before.1).max(1.0))
}

async fn counts(gateway: &Service) -> anyhow::Result<(f64, f64)> {
    let page = gateway.metrics().await?;
    let count = |series| http::metric(&page, series).with_context(|| format!("no {series}"));
    Ok((count("gateway_queue_seconds_count")?, count("websocket_messages_sent_total")?))
}
