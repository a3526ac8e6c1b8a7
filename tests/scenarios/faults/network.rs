//! Faults of the network between the services and Redis, which itself keeps running.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{designed, fresh_user, one_of_each},
    eventually,
    proxy::{FAULTS, Fault, Proxy},
    stack::{Layout, RedisProxies, TIMEOUT},
};
use serde_json::json;
use support::client_fleet::RecoveryLatency;
use tokio::time::Instant;

use super::print_gap_repairs;
use crate::{
    assertions::{expect_delivery, wait_for_published},
    context::Context,
    run_profile::RunProfile,
    runner::scenarios,
    under_load::UnderLoad,
};

scenarios![
    faults_between_the_services_and_redis_lose_no_event_and_close_no_socket,
    the_first_event_after_a_nat_dropped_the_idle_connection_is_not_late,
    large_notifications_over_a_slow_network_do_not_time_out,
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

/// All of them at once would take longer than `REDIS_RESPONSE_TIMEOUT`.
async fn large_notifications_over_a_slow_network_do_not_time_out(
    context: &Context,
) -> anyhow::Result<()> {
    // A list of this length takes 4 KiB in a record, and over 64 KiB in a notification.
    const LIST_LENGTH: usize = 1_500;
    const EVENTS: usize = 40;
    // For each read of up to 16 KiB: about 3 Mbit/s.
    const DELAY: Duration = Duration::from_millis(40);
    let stack = context.own_stack(&Layout { proxied: true, ..Layout::default() }).await?;
    let (user, worker) = (fresh_user(), &stack.workers[0]);
    let case = designed()?.into_iter().find(|case| case.name() == "batch_validation_errors");
    let case = case.context("the fixtures have such an event")?;
    let mut events = Vec::new();
    for _ in 0..EVENTS {
        let mut event = case.fresh(&user)?;
        event.envelope["data"]["validation_errors"] = vec![json!({}); LIST_LENGTH].into();
        event.key.clone_from(&user);
        events.push(event);
    }
    let retries = async || worker.metric(r#"ingest_worker_retries_total{system="redis"}"#).await;
    let before = retries().await?;
    let proxies = stack.redis_proxies.as_ref().context("the layout has proxies")?;
    proxies.worker.set_fault(Fault::Delay(DELAY));
    let sent = Instant::now();
    stack.producer.send_all(&events).await?;
    let entries = wait_for_published(&stack, &user, EVENTS).await?;
    eprintln!("{EVENTS} large notifications over a slow network: {:?}", sent.elapsed());
    let bytes: usize = entries.iter().map(|(_, text)| text.len()).sum();
    ensure!(bytes > EVENTS * (48 << 10), "the notifications are small: {bytes} bytes");
    let repeated = retries().await? - before;
    // A busy processor delays a few; all of them in one round trip would never arrive.
    ensure!(repeated < 10.0, "{repeated} attempts were repeated");
    proxies.worker.set_fault(Fault::None);
    stack.shut_down_and_check_logs().await
}
