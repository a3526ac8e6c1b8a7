//! What lies between the services and Redis breaks; Redis itself does not.

use anyhow::Context as _;
use harness::{
    proxy::{FAULTS, Fault, Proxy},
    stack::{Layout, RedisProxies},
};
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy, RecoveryLatency},
    event_generator::EventGenerator,
};

use super::{PER_SECOND, RECOVERY_LIMIT, USERS, report_repairs};
use crate::{
    context::Context,
    run_profile::{RunProfile, seed},
    runner::scenarios,
};

scenarios![
    whatever_breaks_between_worker_and_redis_no_event_is_lost_or_told_twice,
    whatever_breaks_between_gateway_and_redis_no_event_and_no_socket_is_lost,
    whatever_breaks_on_both_ways_to_redis_no_event_and_no_socket_is_lost,
];

async fn whatever_breaks_between_worker_and_redis_no_event_is_lost_or_told_twice(
    context: &Context,
) -> anyhow::Result<()> {
    breaks(context, "worker to Redis", |ways| vec![&ways.worker]).await
}

async fn whatever_breaks_between_gateway_and_redis_no_event_and_no_socket_is_lost(
    context: &Context,
) -> anyhow::Result<()> {
    breaks(context, "gateway to Redis", |ways| vec![&ways.gateway]).await
}

async fn whatever_breaks_on_both_ways_to_redis_no_event_and_no_socket_is_lost(
    context: &Context,
) -> anyhow::Result<()> {
    breaks(context, "both to Redis", |ways| vec![&ways.worker, &ways.gateway]).await
}

/// Goes through all faults, while events are sent, and waits after each until it is over for everybody.
async fn breaks(
    context: &Context,
    what: &str,
    on: fn(&RedisProxies) -> Vec<&Proxy>,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { proxied: true, ..Layout::default() }).await?;
    let ways = on(stack.redis_proxies.as_ref().context("there are proxies")?);
    let fleet = ClientFleet::connect(&stack, &[(USERS, ReconnectPolicy::Never)]).await?;
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed(what)).await?;
    let mut all = RecoveryLatency::default();
    for fault in FAULTS {
        let repair = outlasts(fault, &ways, &mut generator, &fleet).await;
        let repair = repair.with_context(|| format!("{fault:?}"))?;
        eprintln!("{what}, {fault:?}: {repair}");
        all.add(&repair);
    }
    eprintln!("{what}, all faults: {all}");
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    report_repairs(what, &stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

async fn outlasts(
    fault: Fault,
    ways: &[&Proxy],
    generator: &mut EventGenerator,
    fleet: &ClientFleet,
) -> anyhow::Result<RecoveryLatency> {
    let events = RunProfile::current().pick(200, 1_200);
    generator.wait_for_sent(20).await?;
    set(ways, fault);
    generator.wait_for_sent(events).await?;
    set(ways, Fault::None);
    fleet.wait_for_delivery(RECOVERY_LIMIT).await
}

fn set(ways: &[&Proxy], fault: Fault) {
    for way in ways {
        way.set_fault(fault);
    }
}
