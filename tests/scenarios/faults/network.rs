//! Faults of the network between the services and Redis, which itself keeps running.

use anyhow::Context as _;
use harness::{
    proxy::{FAULTS, Fault, Proxy},
    stack::{Layout, RedisProxies},
};
use support::client_fleet::RecoveryLatency;

use super::print_gap_repairs;
use crate::{context::Context, run_profile::RunProfile, runner::scenarios, under_load::UnderLoad};

scenarios![
    faults_between_worker_and_redis_lose_and_duplicate_no_event,
    faults_between_gateway_and_redis_lose_no_event_and_close_no_socket,
    faults_between_both_services_and_redis_lose_no_event_and_close_no_socket,
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
