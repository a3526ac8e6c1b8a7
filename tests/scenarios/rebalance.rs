//! Connections are spread over all gateways after a scale-up.

use std::time::Duration;

use anyhow::ensure;
use harness::{
    eventually,
    service::Service,
    stack::{Layout, Stack},
};
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy},
    event_generator::EventGenerator,
    load_balancer::LoadBalancer,
};

use crate::{context::Context, run_profile::seed, runner::scenarios};

scenarios![connections_move_to_new_gateways_and_lose_nothing];

const CLIENTS: u32 = 200;
const PER_SECOND: u32 = 50;
/// Longest wait until connections are spread: gateways compare their numbers every 5 s.
const LIMIT: Duration = Duration::from_mins(2);

/// As by default, but faster and for fewer connections.
fn layout() -> Layout {
    let gateway_settings =
        vec![("REBALANCE_RATE", "3".to_owned()), ("REBALANCE_MIN_CONNECTIONS", "20".to_owned())];
    Layout { gateways: 2, gateway_settings, ..Layout::default() }
}

async fn connections_move_to_new_gateways_and_lose_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&layout()).await?;
    let balancer = LoadBalancer::start().await?;
    balancer.set_backends(stack.gateways.iter().map(Service::address));
    let clients = [(CLIENTS as usize, ReconnectPolicy::Resume)];
    let fleet = ClientFleet::connect_to(&stack, &[balancer.address()], &clients).await?;
    let mut generator =
        EventGenerator::start(&stack, &fleet, PER_SECOND, seed("rebalance")).await?;
    generator.wait_for_sent(50).await?;
    ensure!(fleet.close_codes().is_empty(), "closed while balanced: {:?}", fleet.close_codes());
    for _ in 0..2 {
        stack.start_another_gateway().await?;
    }
    balancer.set_backends(stack.gateways.iter().map(Service::address));
    eventually("connections are spread", LIMIT, async || {
        let numbers = connections(&stack).await?;
        let fullest = numbers.iter().copied().fold(0.0, f64::max);
        let sum: f64 = numbers.iter().sum();
        ensure!(sum > f64::from(CLIENTS) * 0.95, "clients are away: {numbers:?}");
        let mean = sum / 4.0;
        ensure!(fullest <= 1.15 * mean, "the fullest has over 1.15 times the mean: {numbers:?}");
        Ok(())
    })
    .await?;
    let moved = moved(&stack).await?;
    eprintln!("{:?} connections, {moved} moved", connections(&stack).await?);
    // Each is moved at most about twice: a quarter comes back to a full gateway.
    ensure!(moved < f64::from(CLIENTS) * 1.5, "{moved} of {CLIENTS} connections were moved");
    fleet.wait_until_connected().await?;
    generator.stop_and_flush().await?;
    fleet.wait_for_delivery(LIMIT).await?;
    let codes = fleet.close_codes();
    ensure!(codes.keys().eq([&1012]), "expected close code 1012 only, got {codes:?}");
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

/// The number of connections of each gateway.
async fn connections(stack: &Stack) -> anyhow::Result<Vec<f64>> {
    let mut numbers = Vec::new();
    for gateway in &stack.gateways {
        numbers.push(gateway.metric("websocket_active_connections").await?);
    }
    Ok(numbers)
}

/// The number of connections that were closed to be moved.
async fn moved(stack: &Stack) -> anyhow::Result<f64> {
    let mut moved = 0.0;
    for gateway in &stack.gateways {
        moved += gateway.metric(r#"websocket_closes_total{reason="rebalanced"}"#).await?;
    }
    Ok(moved)
}
