//! Rolling upgrades and downgrades between this version and an earlier one, under load.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use harness::{stack::Layout, workspace};
use support::client_fleet::ReconnectPolicy;

use crate::{
    context::Context, requirements::Skipped, run_profile::RunProfile, runner::scenarios,
    under_load::UnderLoad,
};

scenarios![services_are_replaced_by_another_version_in_any_order_without_loss];

/// Number of clients: enough for a 99th percentile.
const CLIENTS: usize = 100;
/// Longest time from an event to its delivery, for 99 % of the clients.
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// The services of a version that are replaced together.
#[derive(Clone, Copy, Debug)]
enum Part {
    Workers,
    Gateways,
}

/// To which version the parts are replaced, in which order.
const STEPS: [(Version, [Part; 2]); 4] = [
    (Version::Earlier, [Part::Gateways, Part::Workers]),
    (Version::Present, [Part::Workers, Part::Gateways]),
    (Version::Earlier, [Part::Workers, Part::Gateways]),
    (Version::Present, [Part::Gateways, Part::Workers]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Earlier,
    Present,
}

impl Version {
    fn program(self, binary: &str) -> anyhow::Result<PathBuf> {
        match self {
            Self::Earlier => workspace::earlier_binary(binary),
            Self::Present => workspace::binary(binary),
        }
    }
}

async fn services_are_replaced_by_another_version_in_any_order_without_loss(
    context: &Context,
) -> anyhow::Result<()> {
    if Version::Earlier.program("ws-gateway").is_err() {
        return Err(Skipped("no earlier version is built: tests/earlier.sh does it").into());
    }
    // As the manifests run workers: a rollout moves no partition.
    let layout = Layout { workers: 2, gateways: 2, ..Layout::default() }.with_static_membership();
    let stack = context.own_stack(&layout).await?;
    let clients = [(CLIENTS, ReconnectPolicy::Resume)];
    let mut load = UnderLoad::with_clients(stack, &clients, "upgrade").await?;
    // What earlier workers publish, present ones read again, as it has no watermarks; meanwhile new
    // events wait.
    let events = RunProfile::current().pick(100, 200);
    for (version, parts) in STEPS {
        for part in parts {
            for number in 0..2 {
                let service = match part {
                    Part::Workers => &mut load.stack.workers[number],
                    Part::Gateways => &mut load.stack.gateways[number],
                };
                let program = version.program(service.binary())?;
                service.replace(program).await.with_context(|| format!("{part:?} {version:?}"))?;
                load.clients.wait_until_connected().await?;
                // Both versions run until the other service is replaced.
                load.events.wait_for_sent(events).await?;
            }
            load.wait_for_recovery(&format!("{part:?} to {version:?}")).await?;
        }
    }
    load.check_delivery().await?;
    let delays = load.clients.longest_delays();
    let p99 = delays[delays.len() * 99 / 100 - 1];
    eprintln!("upgrade: longest delay of a client p99 {p99:?}, max {:?}", delays.last());
    ensure!(p99 < LONGEST_DELAY, "expected under {LONGEST_DELAY:?}, got {p99:?}");
    load.shut_down().await
}
