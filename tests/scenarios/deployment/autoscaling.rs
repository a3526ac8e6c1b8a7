//! What autoscalers do: from one of each service to three, and back to one, while events are sent.

use std::time::Duration;

use anyhow::ensure;
use harness::{
    eventually,
    http::metric,
    service::Service,
    stack::{Layout, Stack},
};
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy},
    event_generator::EventGenerator,
    load_balancer::LoadBalancer,
};

use crate::{context::Context, run_profile::seed, runner::scenarios};

scenarios![from_one_to_three_and_back_nothing_is_lost,];

/// As many as the other scenarios have while something breaks.
const USERS: usize = 20;
const PER_SECOND: u32 = 100;
/// Longest wait for a worker that has gone for good to be missed, and for what it held.
const MISSED_LIMIT: Duration = Duration::from_mins(1);

/// Workers known by name, as in the manifests, but missed after 10 s to make it short.
fn layout() -> Layout {
    let mut layout = Layout::default().with_static_membership();
    layout.worker_settings.push(("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "10000".to_owned()));
    layout.gateway_settings.push(("DRAIN_WINDOW", "2s".to_owned()));
    layout
}

async fn from_one_to_three_and_back_nothing_is_lost(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let mut stack = context.own_stack(&layout()).await?;
    let service = LoadBalancer::start().await?;
    service.set_backends(addresses(&stack));
    let sizes = [(USERS, ReconnectPolicy::Resume), (4, ReconnectPolicy::ResumeAfterEach)];
    let fleet = ClientFleet::connect_to(&stack, &[service.address()], &sizes).await?;
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed("scale")).await?;
    for _ in 0..2 {
        stack.start_another_worker().await?;
        stack.start_another_gateway().await?;
        service.set_backends(addresses(&stack));
        generator.wait_for_sent(100).await?;
    }
    everybody_works(&stack).await?;
    generator.wait_for_sent(300).await?;
    eprintln!("three of each: {}", fleet.wait_for_delivery(MISSED_LIMIT).await?);
    while stack.workers.len() > 1 {
        stack.stop_last_worker().await?;
        // Those that come back find the others.
        service.set_backends(addresses(&stack).into_iter().skip(1));
        stack.stop_first_gateway().await?;
        generator.wait_for_sent(100).await?;
    }
    fleet.wait_until_connected().await?;
    generator.stop_and_flush().await?;
    eprintln!("one of each again: {}", fleet.wait_for_delivery(MISSED_LIMIT).await?);
    let codes = fleet.close_codes();
    ensure!(codes.contains_key(&1012), "nobody was asked to come back: {codes:?}");
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

fn addresses(stack: &Stack) -> Vec<std::net::SocketAddr> {
    stack.gateways.iter().map(Service::address).collect()
}

/// Waits until each worker has partitions and each gateway has had clients.
async fn everybody_works(stack: &Stack) -> anyhow::Result<()> {
    let busy = [
        (&stack.workers, "ingest_worker_assigned_partitions"),
        (&stack.gateways, r#"websocket_connections_total{status="accepted"}"#),
    ];
    eventually("everybody works", MISSED_LIMIT, async || {
        for (services, series) in busy {
            for service in services {
                let count = metric(&service.metrics().await?, series);
                ensure!(count > Some(0.0), "{}: {series} {count:?}", service.name());
            }
        }
        Ok(())
    })
    .await
}
