//! Graceful shutdown: clients are asked to reconnect, and no work is lost or done twice.

use std::time::Duration;

use anyhow::ensure;
use harness::{
    events::{self, fresh_user},
    eventually,
    process::Signal,
    stack::{Layout, TIMEOUT},
};
use tokio::time::Instant;

use crate::{
    assertions::{
        expect_close, expect_no_further_frames, expect_notifications, wait_for_published,
    },
    context::Context,
    faults::gateways::RECONNECT_DELAY_MS,
    runner::scenarios,
};

scenarios![
    a_gateway_that_stops_asks_its_clients_to_reconnect_within_the_drain_window,
    a_worker_that_stops_while_events_flow_loses_and_repeats_nothing,
    idle_services_stop_within_the_timeout,
    a_worker_stops_within_its_grace_while_kafka_and_redis_hang,
];

/// `SHUTDOWN_GRACE` of a worker that has to give up its work.
const GRACE: Duration = Duration::from_secs(4);

async fn a_gateway_that_stops_asks_its_clients_to_reconnect_within_the_drain_window(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![("DRAIN_WINDOW", "1s".to_owned())];
    let layout = Layout { workers: 0, gateways: 2, gateway_settings, ..Layout::default() };
    let (mut stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let mut elsewhere = [stack.client_at(1, &user).await?];
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(stack.client(&fresh_user()).await?);
    }
    stack.gateways[0].signal(Signal::TERM)?;
    for client in &mut clients {
        let frame = client.next_frame(TIMEOUT).await?;
        let data = &frame["data"];
        ensure!(data["state"] == "disconnected", "expected state disconnected, got {frame}");
        ensure!(data["reason"].is_string(), "expected a reason, got {frame}");
        let delay = data["reconnect_after_ms"].as_u64();
        let is_allowed = delay.is_some_and(|delay| RECONNECT_DELAY_MS.contains(&delay));
        ensure!(is_allowed, "expected a delay of {RECONNECT_DELAY_MS:?} ms, got {frame}");
        expect_close(client, 1012).await?;
    }
    let status = stack.gateways[0].wait_for_exit(TIMEOUT).await?;
    ensure!(status.success(), "expected exit code 0, got {status}");
    expect_no_further_frames(&stack, &user, &mut elsewhere).await?;
    stack.gateways[0].restart().await?;
    stack.client_at(0, &user).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_worker_that_stops_while_events_flow_loses_and_repeats_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout::default()).await?;
    let user = fresh_user();
    let case = &events::designed()?[0];
    let mut events = (0..200).map(|_| case.fresh(&user)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut clients = [stack.client(&user).await?];
    let (producer, sent) = (stack.producer.clone(), events.clone());
    let sending = tokio::spawn(async move {
        for event in &sent {
            producer.send(event).await?;
        }
        anyhow::Ok(())
    });
    wait_for_published(&stack, &user, 1).await?;
    stack.workers[0].stop().await?;
    let while_stopped = events::one_of_each(&user)?;
    stack.producer.send_all(&while_stopped).await?;
    stack.workers[0].restart().await?;
    sending.await??;
    events.extend(while_stopped);
    expect_notifications(&mut clients[0], &events).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn idle_services_stop_within_the_timeout(context: &Context) -> anyhow::Result<()> {
    let layout = Layout { workers: 2, gateways: 2, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let services = || stack.workers.iter().chain(&stack.gateways);
    for service in services() {
        service.signal(Signal::TERM)?;
    }
    for service in services() {
        let status = service.wait_for_exit(TIMEOUT).await?;
        ensure!(status.success(), "{}: expected exit code 0, got {status}", service.name());
    }
    stack.check_logs_and_discard()
}

async fn a_worker_stops_within_its_grace_while_kafka_and_redis_hang(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("SHUTDOWN_GRACE", format!("{}s", GRACE.as_secs()))];
    let stack = context.own_broker(&Layout { worker_settings, ..Layout::default() }).await?;
    let event = events::designed()?[0].fresh(&fresh_user())?;
    stack.redis.freeze()?;
    stack.producer.send(&event).await?;
    eventually("the worker has a record in flight", TIMEOUT, async || {
        let in_flight = stack.workers[0].metric("ingest_worker_in_flight_records").await?;
        ensure!(in_flight > 0.0, "no record is in flight");
        Ok(())
    })
    .await?;
    stack.kafka.freeze(true).await?;
    let begin = Instant::now();
    stack.workers[0].signal(Signal::TERM)?;
    stack.workers[0].wait_for_exit(TIMEOUT).await?;
    // Each of the phases used to have the whole grace.
    let (took, limit) = (begin.elapsed(), GRACE + GRACE / 2);
    ensure!(took < limit, "the worker took {took:?} to stop; expected less than {limit:?}");
    stack.kafka.freeze(false).await?;
    stack.redis.thaw()?;
    stack.check_logs_and_discard()
}
