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
    faults_between_the_services_and_redis_lose_no_event_and_close_no_socket,
    the_first_event_after_a_nat_dropped_the_idle_connection_is_not_late,
];

/// Injects each fault in turn and waits after each until every event is delivered.
async fn faults_between_the_services_and_redis_lose_no_event_and_close_no_socket(
    context: &Context,
) -> anyhow::Result<()> {
    type Select = fn(&RedisProxies) -> Vec<&Proxy>;
    let links: [(&str, Select); 3] = [
        ("worker to Redis", |proxies| vec![&proxies.worker]),
        ("gateway to Redis", |proxies| vec![&proxies.gateway]),
        ("both to Redis", |proxies| vec![&proxies.worker, &proxies.gateway]),
    ];
    let events = RunProfile::current().pick(200, 1_200);
    let stack = context.own_stack(&Layout { proxied: true, ..Layout::default() }).await?;
    let mut load = UnderLoad::start(stack, "network faults").await?;
    for (link, select) in links {
        let mut all = RecoveryLatency::default();
        for fault in FAULTS {
            load.events.wait_for_sent(20).await?;
            let proxies = load.stack.redis_proxies.as_ref().context("the layout has proxies")?;
            for (fault, events) in [(fault, events), (Fault::None, 0)] {
                for proxy in select(proxies) {
                    proxy.set_fault(fault);
                }
                load.events.wait_for_sent(events).await?;
            }
            let fault = format!("{link}: {fault:?}");
            all.add(&load.wait_for_recovery(&fault).await.context(fault)?);
        }
        eprintln!("{link}, all faults: {all}");
    }
    print_gap_repairs("network faults", &load.stack).await?;
    load.finish().await
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
    proxies.worker.set_fault(Fault::BlackholeOpen);
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
