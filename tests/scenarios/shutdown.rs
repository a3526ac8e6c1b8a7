//! Stopping in order: nobody is left in the dark, nothing is half done.

use anyhow::ensure;
use harness::{
    events::{self, fresh_user},
    eventually,
    process::Signal,
    stack::{Layout, TIMEOUT},
};

use crate::{
    assertions::{expect_close, expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_gateway_that_stops_asks_its_clients_to_come_back,
    a_worker_that_stops_in_mid_flow_loses_and_repeats_nothing,
    idle_services_stop_at_once,
];

async fn a_gateway_that_stops_asks_its_clients_to_come_back(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![("DRAIN_WINDOW", "1s".to_owned())];
    let layout = Layout { workers: 0, gateways: 2, gateway_settings, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let mut elsewhere = [stack.client_at(1, &user).await?];
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(stack.client(&fresh_user()).await?);
    }
    stack.gateways[0].signal(Signal::TERM)?;
    for client in &mut clients {
        let frame = client.next_frame(TIMEOUT).await?;
        ensure!(frame["data"]["state"] == "disconnected", "{frame}");
        ensure!(frame["data"]["reason"].is_string(), "{frame}");
        let delay = frame["data"]["reconnect_after_ms"].as_u64();
        let is_allowed = delay.is_some_and(|delay| (500..=2_000).contains(&delay));
        ensure!(is_allowed, "expected a delay of 0.5 to 2 s: {frame}");
        expect_close(client, 1012).await?;
    }
    let status = stack.gateways[0].wait_for_exit(TIMEOUT).await?;
    ensure!(status.success(), "ended with {status}");
    expect_no_further_frames(&stack, &user, &mut elsewhere).await?;
    let mut stack = stack;
    stack.gateways[0].restart().await?;
    stack.client_at(0, &user).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_worker_that_stops_in_mid_flow_loses_and_repeats_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout::default()).await?;
    let user = fresh_user();
    let case = &events::designed()?[0];
    let events = (0..200).map(|_| case.fresh(&user)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut clients = [stack.client(&user).await?];
    let producer = stack.producer.clone();
    let sent = events.clone();
    let sending = tokio::spawn(async move {
        for event in &sent {
            producer.send(event).await?;
        }
        anyhow::Ok(())
    });
    eventually("some events have arrived", TIMEOUT, async || {
        let arrived = stack.redis.stream(&user).await?.len();
        ensure!(arrived > 0, "none has");
        Ok(())
    })
    .await?;
    stack.workers[0].stop().await?;
    stack.workers[0].restart().await?;
    sending.await??;
    expect_notifications(&mut clients[0], &events).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    drop(clients);
    stack.shut_down_and_check_logs().await
}

async fn idle_services_stop_at_once(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { workers: 2, gateways: 2, ..Layout::default() }).await?;
    for service in stack.workers.iter().chain(&stack.gateways) {
        service.signal(Signal::TERM)?;
    }
    for service in stack.workers.iter().chain(&stack.gateways) {
        let status = service.wait_for_exit(TIMEOUT).await?;
        ensure!(status.success(), "ended with {status}");
    }
    // They have been stopped already.
    stack.check_logs_and_discard()
}
