//! Each figure of `make bench` can be measured: a short run on the embedded broker.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, ensure};
use harness::workspace;
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::{context::Context, runner::scenarios};

/// Longest time for one of the three parts on a busy machine.
const RUN_TIMEOUT: Duration = Duration::from_mins(4);

/// Prefixes of the figures that need no worker.
const GATEWAY_FIGURES: &[&str] = &[
    "idle_kib_per_connection",
    "idle_us_per_connection_second",
    "baseline_send",
    "baseline_loop_1_thread",
    "baseline_loop_2_threads",
    "deliveries_per_core_20",
    "deliveries_per_core_1_thread_20",
    "burst_frames_per_core_20",
    "fanout_us_per_socket",
    "fanout_copies_per_socket",
    "writes_per_low_priority_frame",
    "connects_per_second_hs256",
    "connects_per_second_rs256",
    "badge_p99",
    "poll_us_per_client_second",
];
/// Prefixes of the figures of workers that publish a backlog.
const WORKER_FIGURES: &[&str] = &[
    "worker_events_per_second",
    "worker_us_per_event_1000",
    "masters_events_per_second",
    "masters_events_per_cpu_second",
    "masters_worker_us_per_event",
    "masters_redis_bytes_per_event",
    "scale_us_per_event",
    "scale_us_per_delivery",
];
/// Prefixes of the figures of the whole path.
const PATH_FIGURES: &[&str] = &[
    "parked_us_per_record",
    "immediate_under_backlog",
    "latency_embedded",
    "slow_clients",
    "reconnect",
    "100k_latency",
    "100k_memory",
    "soak",
];

scenarios![
    every_figure_of_a_gateway_can_be_measured,
    every_figure_of_a_worker_can_be_measured,
    every_figure_of_the_whole_path_can_be_measured,
    the_instructions_of_each_code_path_can_be_counted,
];

async fn every_figure_of_a_gateway_can_be_measured(_: &Context) -> anyhow::Result<()> {
    measure("idle,deliveries,burst,fanout,writes,connects,badge,poll", GATEWAY_FIGURES).await
}

async fn every_figure_of_a_worker_can_be_measured(_: &Context) -> anyhow::Result<()> {
    measure("worker,masters,scale", WORKER_FIGURES).await
}

async fn every_figure_of_the_whole_path_can_be_measured(_: &Context) -> anyhow::Result<()> {
    measure("parked,immediate,latency,slow,reconnect,100k,soak", PATH_FIGURES).await
}

/// Runs what Valgrind counts, which is not needed for it.
async fn the_instructions_of_each_code_path_can_be_counted(_: &Context) -> anyhow::Result<()> {
    for code_path in ["record", "push"] {
        let mut command = Command::new(workspace::binary("instruction-counter")?);
        command.args([code_path, "160"]).kill_on_drop(true);
        let output = timeout(RUN_TIMEOUT, command.output()).await.context("still running")??;
        let log = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{code_path}: {log}");
    }
    Ok(())
}

/// Runs a part of the benchmark and checks that each figure has a value.
async fn measure(only: &str, names: &[&str]) -> anyhow::Result<()> {
    let folder = workspace::temporary("bench-")?;
    let mut command = Command::new(workspace::binary("bench")?);
    command.env("QUICK", "1").env("ONLY", only).env("BENCH_FOLDER", folder.path());
    command.kill_on_drop(true);
    let output = timeout(RUN_TIMEOUT, command.output()).await.context("still running")??;
    let log = String::from_utf8_lossy(&output.stderr);
    let lines = std::fs::read_to_string(folder.path().join("bench.jsonl")).context("no figures")?;
    let mut measured = BTreeSet::new();
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let name = row["name"].as_str().context("a figure has a name")?.to_owned();
        ensure!(row["value"].is_number(), "{name} was not measured: {row}\n{log}");
        let has_runs = row["runs"].as_array().is_some_and(|runs| !runs.is_empty());
        ensure!(has_runs, "{name} has no runs: {row}");
        measured.insert(name);
    }
    for name in names {
        ensure!(
            measured.iter().any(|other| other.starts_with(name)),
            "{name} is not among {measured:?}"
        );
    }
    ensure!(output.status.success(), "{}\n{log}", output.status);
    Ok(())
}
