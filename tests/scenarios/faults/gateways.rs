//! Gateways that are killed or restarted under load, and clients that reconnect to them.

use std::ops::RangeInclusive;

use anyhow::ensure;
use harness::{
    process::Signal,
    stack::{Layout, TIMEOUT},
};
use support::client_fleet::ReconnectPolicy;
use tokio::time::Instant;

use crate::{context::Context, run_profile::RunProfile, runner::scenarios, under_load::UnderLoad};

scenarios![
    clients_of_a_killed_gateway_resume_at_another_without_loss,
    clients_that_all_reconnect_at_once_resume_without_loss,
    a_draining_gateway_spreads_the_reconnects_of_its_clients_and_loses_nothing,
    clients_that_reconnect_after_each_notification_lose_nothing_and_delay_no_others,
];

/// After how many milliseconds a draining gateway asks its clients to reconnect.
pub(crate) const RECONNECT_DELAY_MS: RangeInclusive<u64> = 500..=2_000;

async fn clients_of_a_killed_gateway_resume_at_another_without_loss(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { gateways: 2, ..Layout::default() }).await?;
    let clients = [(40, ReconnectPolicy::Resume)];
    let mut load = UnderLoad::with_clients(stack, &clients, "killed gateway").await?;
    for round in 0..RunProfile::current().pick(2, 12) {
        let gateway = &mut load.stack.gateways[round % 2];
        load.events.wait_for_sent(50).await?;
        gateway.kill().await?;
        load.events.wait_for_sent(100).await?;
        gateway.restart().await?;
        load.clients.wait_until_connected().await?;
    }
    load.finish().await
}

async fn clients_that_all_reconnect_at_once_resume_without_loss(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    let clients = RunProfile::current().pick(300, 5_000);
    let kinds = [(clients, ReconnectPolicy::Resume)];
    let mut load = UnderLoad::with_clients(stack, &kinds, "reconnecting clients").await?;
    load.events.wait_for_sent(50).await?;
    load.stack.gateways[0].kill().await?;
    load.events.wait_for_sent(50).await?;
    load.stack.gateways[0].restart().await?;
    let restarted = Instant::now();
    let fault = format!("{clients} clients reconnect");
    let (present, recovery) =
        tokio::join!(load.clients.wait_until_connected(), load.wait_for_recovery(&fault));
    present?;
    recovery?;
    eprintln!("{fault}: connected within {:?}", restarted.elapsed());
    load.finish().await
}

async fn a_draining_gateway_spreads_the_reconnects_of_its_clients_and_loses_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let drain_window = RunProfile::current().pick("1s", "10s").to_owned();
    let gateway_settings = vec![("DRAIN_WINDOW", drain_window)];
    let layout = Layout { gateways: 2, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let clients = [(60, ReconnectPolicy::Resume)];
    let mut load = UnderLoad::with_clients(stack, &clients, "draining gateway").await?;
    load.events.wait_for_sent(50).await?;
    load.stack.gateways[0].signal(Signal::TERM)?;
    let status = load.stack.gateways[0].wait_for_exit(TIMEOUT * 2).await?;
    ensure!(status.success(), "expected exit code 0, got {status}");
    load.clients.wait_until_connected().await?;
    load.events.wait_for_sent(50).await?;
    load.check_delivery().await?;
    let codes = load.clients.close_codes();
    ensure!(codes.keys().eq([&1012]), "expected close code 1012 only, got {codes:?}");
    let mut delays = load.clients.reconnect_delays_ms();
    delays.sort_unstable();
    delays.dedup();
    // Half of the 60 clients were connected here, and few draw the same millisecond.
    ensure!(delays.len() > 15, "expected more than 15 different delays, got {delays:?}");
    let is_allowed = delays.iter().all(|delay| RECONNECT_DELAY_MS.contains(delay));
    ensure!(is_allowed, "expected delays of {RECONNECT_DELAY_MS:?} ms, got {delays:?}");
    load.stack.gateways[0].restart().await?;
    load.shut_down().await
}

async fn clients_that_reconnect_after_each_notification_lose_nothing_and_delay_no_others(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { gateways: 2, ..Layout::default() }).await?;
    let clients = [(20, ReconnectPolicy::Never), (20, ReconnectPolicy::ResumeAfterEach)];
    let mut load =
        UnderLoad::with_clients(stack, &clients, "reconnecting after each notification").await?;
    load.events.wait_for_sent(RunProfile::current().pick(400, 6_000)).await?;
    load.check_delivery().await?;
    let accepted = r#"websocket_connections_total{status="accepted"}"#;
    let handshakes = load.stack.gateways[0].metric(accepted).await?;
    ensure!(handshakes > 100.0, "expected more than 100 handshakes, got {handshakes}");
    load.shut_down().await
}
