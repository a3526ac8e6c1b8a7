//! A real Prometheus scrapes both services under load and finds every series that an alert or a
//! panel of the dashboard queries.

use std::collections::BTreeMap;

use anyhow::ensure;
use harness::{
    eventually,
    stack::{Layout, Stack, TIMEOUT},
};
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy},
    deployment::{monitoring, root},
    event_generator::EventGenerator,
    prometheus::Prometheus,
};

use crate::{context::Context, requirements, run_profile::seed, runner::scenarios};

scenarios![every_alert_and_panel_finds_its_series];

const EVENTS_PER_SECOND: u32 = 50;

/// Exported only while a partition is blocked; `record_isolation` checks it.
const WITHOUT_SERIES: &str = "ingest_worker_unreadable_offset";

async fn every_alert_and_panel_finds_its_series(context: &Context) -> anyhow::Result<()> {
    let program = requirements::prometheus("prometheus")?;
    let layout = Layout { workers: 2, gateways: 2, ..Layout::default() };
    // A broker of its own: bad records of other scenarios would fire alerts.
    let stack = context.own_broker(&layout).await?;
    let sizes = [(10, ReconnectPolicy::Never), (2, ReconnectPolicy::ResumeAfterEach)];
    let fleet = ClientFleet::connect(&stack, &sizes).await?;
    let mut generator =
        EventGenerator::start(&stack, &fleet, EVENTS_PER_SECOND, seed("scraped")).await?;
    let prometheus = start_prometheus(program, &stack).await?;
    generator.wait_for_sent(100).await?;
    alerts_find_their_series(&prometheus).await?;
    panels_find_their_series(&prometheus).await?;
    rules_are_healthy_and_none_fires(&prometheus).await?;
    ensure!(
        prometheus.query("no_such_series").await?.is_empty(),
        "a series that does not exist is found"
    );
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    drop((fleet, prometheus));
    stack.shut_down_and_check_logs().await
}

async fn start_prometheus(program: &str, stack: &Stack) -> anyhow::Result<Prometheus> {
    let rules = monitoring::RULES.map(|path| root().join(path).canonicalize());
    let rules = rules.into_iter().collect::<Result<Vec<_>, _>>()?;
    Prometheus::start(program, stack.workers.iter().chain(&stack.gateways), &rules).await
}

/// An alert that does not fire has no series, so its selectors are queried.
async fn alerts_find_their_series(prometheus: &Prometheus) -> anyhow::Result<()> {
    let mut wanted = BTreeMap::new();
    for rule in monitoring::rules()? {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap_or_default();
        for selector in monitoring::selectors(rule["expr"].as_str().unwrap_or_default()) {
            if selector != WITHOUT_SERIES {
                wanted.insert(selector, name.to_owned());
            }
        }
        // Recorded series too, even if no alert uses them.
        wanted.extend(rule["record"].as_str().map(|name| (name.to_owned(), name.to_owned())));
    }
    wait_for_series(prometheus, wanted).await
}

async fn panels_find_their_series(prometheus: &Prometheus) -> anyhow::Result<()> {
    let queries = monitoring::queries()?.into_iter();
    wait_for_series(prometheus, queries.map(|(title, query)| (query, title)).collect()).await
}

/// Waits until each expression has series; the value names the rule or panel that uses it.
async fn wait_for_series(
    prometheus: &Prometheus,
    wanted: BTreeMap<String, String>,
) -> anyhow::Result<()> {
    for (expression, user) in wanted {
        eventually(&format!("series of {user}: {expression}"), TIMEOUT * 2, async || {
            ensure!(!prometheus.query(&expression).await?.is_empty(), "no series");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Checks that every rule evaluates and no alert fires.
async fn rules_are_healthy_and_none_fires(prometheus: &Prometheus) -> anyhow::Result<()> {
    for rule in prometheus.rules().await? {
        ensure!(rule["health"] == "ok", "expected a rule that evaluates, got {rule}");
        ensure!(rule["state"] != "firing", "expected no firing alert, got {rule}");
    }
    Ok(())
}
