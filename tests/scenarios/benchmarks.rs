//! What `make bench` measures can be measured: each figure in small, on the embedded broker.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, ensure};
use harness::workspace;
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::{context::Context, runner::scenarios};

/// Longest time for half of the figures on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(4);

/// Those that need no worker.
const OF_A_GATEWAY: &[&str] = &[
    "idle_kib_per_connection",
    "idle_us_per_connection_second",
    "deliveries_per_core",
    "fanout_us_per_socket",
    "fanout_copies_per_socket",
    "low_frames",
    "connects_per_second_hs256",
    "connects_per_second_rs256",
];
/// Those of the whole path.
const OF_ALL: &[&str] = &[
    "worker_events_per_second",
    "urgent_under_backlog",
    "latency_embedded",
    "slow_sockets",
    "comeback",
    "100k_latency",
    "100k_memory",
    "soak",
];

scenarios![
    every_figure_of_a_gateway_can_be_measured,
    every_figure_of_the_whole_path_can_be_measured,
];

async fn every_figure_of_a_gateway_can_be_measured(_: &Context) -> anyhow::Result<()> {
    measure("idle,deliveries,fanout,low_frames,connects", OF_A_GATEWAY).await
}

async fn every_figure_of_the_whole_path_can_be_measured(_: &Context) -> anyhow::Result<()> {
    measure("worker,urgent,ladder,slow,comeback,100k,soak", OF_ALL).await
}

/// Measures in small and looks for a value under each name.
async fn measure(only: &str, names: &[&str]) -> anyhow::Result<()> {
    let folder = workspace::temporary("bench-")?;
    let mut command = Command::new(workspace::binary("bench")?);
    command.env("QUICK", "1").env("ONLY", only).env("BENCH_FOLDER", folder.path());
    command.kill_on_drop(true);
    let output = timeout(TIMEOUT, command.output()).await.context("it does not end")??;
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = std::fs::read_to_string(folder.path().join("bench.jsonl")).context("no figures")?;
    let mut measured = BTreeSet::new();
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let name = row["name"].as_str().context("a figure has a name")?.to_owned();
        ensure!(row["value"].is_number(), "{name} was not measured: {row}\n{said}");
        ensure!(row["runs"].as_array().is_some_and(|runs| !runs.is_empty()), "{row}");
        measured.insert(name);
    }
    for name in names {
        ensure!(measured.iter().any(|other| other.starts_with(name)), "no {name}: {measured:?}");
    }
    ensure!(output.status.success(), "{}\n{said}", output.status);
    Ok(())
}
