//! Both services scaled from one to three instances and back under load, as autoscalers do.

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

scenarios![scaling_out_and_in_loses_nothing];

const USERS: usize = 20;
const PER_SECOND: u32 = 100;
/// Longest wait for the session timeout of a removed worker, and for the records of its partitions.
const REASSIGNMENT_TIMEOUT: Duration = Duration::from_mins(1);

/// Static membership as in the manifests, with a shorter session timeout.
fn layout() -> Layout {
    let mut layout = Layout::default().with_static_membership();
    layout.worker_settings.push(("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "10000".to_owned()));
    layout.gateway_settings.push(("DRAIN_WINDOW", "2s".to_owned()));
    layout
}

async fn scaling_out_and_in_loses_nothing(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let mut stack = context.own_stack(&layout()).await?;
    let balancer = LoadBalancer::start().await?;
    balancer.set_backends(addresses(&stack));
    let sizes = [(USERS, ReconnectPolicy::Resume), (4, ReconnectPolicy::ResumeAfterEach)];
    let fleet = ClientFleet::connect_to(&stack, &[balancer.address()], &sizes).await?;
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed("scale")).await?;
    for _ in 0..2 {
        stack.start_another_worker().await?;
        stack.start_another_gateway().await?;
        balancer.set_backends(addresses(&stack));
        generator.wait_for_sent(100).await?;
    }
    wait_until_all_instances_work(&stack).await?;
    generator.wait_for_sent(300).await?;
    eprintln!("three of each: {}", fleet.wait_for_delivery(REASSIGNMENT_TIMEOUT).await?);
    while stack.workers.len() > 1 {
        stack.stop_last_worker().await?;
        // Before it drains, as a load balancer does.
        balancer.set_backends(addresses(&stack).into_iter().skip(1));
        stack.stop_first_gateway().await?;
        generator.wait_for_sent(100).await?;
    }
    fleet.wait_until_connected().await?;
    generator.stop_and_flush().await?;
    eprintln!("one of each again: {}", fleet.wait_for_delivery(REASSIGNMENT_TIMEOUT).await?);
    let codes = fleet.close_codes();
    ensure!(codes.contains_key(&1012), "no client was asked to reconnect: {codes:?}");
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

fn addresses(stack: &Stack) -> Vec<std::net::SocketAddr> {
    stack.gateways.iter().map(Service::address).collect()
}

/// Waits until each worker has partitions and each gateway has had clients.
async fn wait_until_all_instances_work(stack: &Stack) -> anyhow::Result<()> {
    let busy = [
        (&stack.workers, "ingest_worker_assigned_partitions"),
        (&stack.gateways, r#"websocket_connections_total{status="accepted"}"#),
    ];
    eventually("every instance works", REASSIGNMENT_TIMEOUT, async || {
        for (services, series) in busy {
            for service in services {
                let count = metric(&service.metrics().await?, series);
                ensure!(
                    count > Some(0.0),
                    "{}: expected {series} above 0, got {count:?}",
                    service.name()
                );
            }
        }
        Ok(())
    })
    .await
}
