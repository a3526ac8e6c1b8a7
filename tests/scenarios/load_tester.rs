//! The load tester passes on a system that works and fails on a loss.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{stack::Stack, workspace};
use serde_json::Value;
use tokio::{process::Command, time::timeout};
use uuid::Uuid;

use crate::{context::Context, runner::scenarios};

/// Longest time for a run of 3 s, its warm-up included, on a busy machine.
const RUN_TIMEOUT: Duration = Duration::from_secs(90);

scenarios![
    the_load_tester_counts_every_event_once_and_in_order,
    the_load_tester_fails_when_events_are_lost,
];

async fn the_load_tester_counts_every_event_once_and_in_order(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let clients = ["--sockets", "60", "--users", "30", "--processes", "2", "--session", "1"];
    let outcome = load(stack, &[&clients[..], &["--rate", "300"]].concat()).await?;
    let counts = ["sent", "expected", "received", "missing", "duplicates", "out_of_order"];
    let counts = counts.map(|name| outcome[name].as_u64());
    ensure!(counts == [600, 1200, 1200, 0, 0, 0].map(Some), "unexpected counts: {outcome}");
    let latency = &outcome["latency"];
    let is_ordered = latency["p50_us"].as_u64() <= latency["p99_us"].as_u64();
    ensure!(is_ordered, "expected p50 <= p99: {outcome}");
    ensure!(latency["count"].as_u64() < Some(1200), "the warm-up is measured: {outcome}");
    // A run is invalid where the tester itself was late, as on a busy machine.
    ensure!(outcome["passed"] == outcome["valid"], "expected a valid run to pass: {outcome}");
    Ok(())
}

async fn the_load_tester_fails_when_events_are_lost(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let unread = format!("unread-{}", Uuid::new_v4().simple());
    stack.kafka.create_topics(std::slice::from_ref(&unread)).await?;
    let rate = ["--sockets", "5", "--rate", "10", "--topic", &unread];
    let outcome = load(stack, &rate).await?;
    let is_loss = outcome["passed"] == false && outcome["missing"] == 20;
    ensure!(is_loss, "expected 20 missing events: {outcome}");
    Ok(())
}

/// Runs the tester for 2 s and returns its result.
async fn load(stack: &Stack, arguments: &[&str]) -> anyhow::Result<Value> {
    let folder = workspace::temporary("load-")?;
    let result = folder.path().join("load.json");
    let gateways = stack.gateways.iter().map(|gateway| format!("ws://{}/ws", gateway.address()));
    let gateways = gateways.collect::<Vec<_>>().join(",");
    let mut command = Command::new(workspace::binary("load")?);
    command.args(["--gateway", &gateways, "--kafka", stack.kafka.bootstrap_servers()]);
    command.args(["--seconds", "2", "--warm-up", "1"]).args(arguments);
    command.arg("--json").arg(&result).env("JWT_SECRET_KEY", &stack.secret).kill_on_drop(true);
    let output = timeout(RUN_TIMEOUT, command.output())
        .await
        .context("the load tester is still running")??;
    let text = std::fs::read_to_string(&result);
    let text = text.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(serde_json::from_str(&text)?)
}
