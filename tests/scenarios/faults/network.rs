//! Faults of the network between the services and Redis, which itself keeps running.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{fresh_user, one_of_each},
    eventually,
    proxy::{FAULTS, Fault, Proxy},
    stack::{Layout, RedisProxies, TIMEOUT},
};
use support::client_fleet::RecoveryLatency;
use tokio::time::Instant;

use super::print_gap_repairs;
use crate::{
    assertions::expect_delivery, context::Context, run_profile::RunProfile, runner::scenarios,
    under_load::UnderLoad,
};

scenarios![
    faults_between_worker_and_redis_lose_and_duplicate_no_event,
    faults_between_gateway_and_redis_lose_no_event_and_close_no_socket,
    faults_between_both_services_and_redis_lose_no_event_and_close_no_socket,
    the_first_event_after_a_nat_dropped_the_idle_connection_is_not_late,
];

async fn faults_between_worker_and_redis_lose_and_duplicate_no_event(
    context: &Context,
) -> anyhow::Result<()> {
    survive_each_fault(context, "worker to Redis", |ways| vec![&ways.worker]).await
}

async fn faults_between_gateway_and_redis_lose_no_event_and_close_no_socket(
    context: &Context,
) -> anyhow::Result<()> {
    survive_each_fault(context, "gateway to Redis", |ways| vec![&ways.gateway]).await
}

async fn faults_between_both_services_and_redis_lose_no_event_and_close_no_socket(
    context: &Context,
) -> anyhow::Result<()> {
    survive_each_fault(context, "both to Redis", |ways| vec![&ways.worker, &ways.gateway]).await
}

/// A NAT drops the idle connection of the worker from its table: bytes are discarded from then on,
/// and no side is notified.
async fn the_first_event_after_a_nat_dropped_the_idle_connection_is_not_late(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { proxied: true, ..Layout::default() }).await?;
    expect_delivery(&stack).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let proxies = stack.redis_proxies.as_ref().context("the layout has proxies")?;
    proxies.worker.set_fault(Fault::ForgetOpen);
    let worker = stack.workers.first().context("the layout has a worker")?;
    eventually("the worker reconnects while idle", TIMEOUT, async || {
        let connects = worker.log()?.matches("connected to Redis").count();
        ensure!(connects == 2, "connected {connects} times");
        Ok(())
    })
    .await?;
    let event = one_of_each(&user)?.remove(0);
    let sent = Instant::now();
    stack.producer.send(&event).await?;
    client.next_notification(TIMEOUT).await?;
    let latency = sent.elapsed();
    eprintln!("first event after the connection was dropped: {latency:?}");
    ensure!(latency < Duration::from_secs(1), "the first event took {latency:?}");
    stack.shut_down_and_check_logs().await
}

/// Injects each fault in turn and waits after each until every event is delivered.
async fn survive_each_fault(
    context: &Context,
    name: &str,
    select: fn(&RedisProxies) -> Vec<&Proxy>,
) -> anyhow::Result<()> {
    let events = RunProfile::current().pick(200, 1_200);
    let stack = context.own_stack(&Layout { proxied: true, ..Layout::default() }).await?;
    let mut load = UnderLoad::start(stack, name).await?;
    let mut all = RecoveryLatency::default();
    for fault in FAULTS {
        load.events.wait_for_sent(20).await?;
        let proxies = select(load.stack.redis_proxies.as_ref().context("the layout has proxies")?);
        for (fault, events) in [(fault, events), (Fault::None, 0)] {
            for proxy in &proxies {
                proxy.set_fault(fault);
            }
            load.events.wait_for_sent(events).await?;
        }
        let fault = format!("{fault:?}");
        all.add(&load.wait_for_recovery(&fault).await.context(fault)?);
    }
    eprintln!("{name}, all faults: {all}");
    print_gap_repairs(name, &load.stack).await?;
    load.finish().await
}
