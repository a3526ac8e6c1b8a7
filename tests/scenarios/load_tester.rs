//! The load tester: it finds nothing wrong with a system that works, and notices a loss.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use harness::{stack::Stack, workspace};
use serde_json::Value;
use tokio::{process::Command, time::timeout};
use uuid::Uuid;

use crate::{context::Context, runner::scenarios};

/// Longest time for a run of two seconds on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(90);

scenarios![
    the_load_tester_sees_every_event_once_and_in_order,
    the_load_tester_fails_when_events_are_lost,
];

async fn the_load_tester_sees_every_event_once_and_in_order(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let clients = ["--sockets", "60", "--users", "30", "--processes", "2", "--session", "1"];
    let outcome = load(stack, &[&clients[..], &["--rate", "300"]].concat()).await?;
    let counts = ["sent", "expected", "received", "missing", "duplicates", "out_of_order"];
    let counts = counts.map(|name| outcome[name].as_u64());
    ensure!(counts == [600, 1200, 1200, 0, 0, 0].map(Some), "{outcome}");
    let latency = &outcome["latency"];
    ensure!(latency["p50_us"].as_u64() <= latency["p99_us"].as_u64(), "{outcome}");
    ensure!(latency["count"].as_u64() < Some(1200), "the warm-up is measured: {outcome}");
    // On a busy machine the tester itself may be late; nothing else may be wrong.
    ensure!(outcome["passed"] == outcome["valid"], "{outcome}");
    Ok(())
}

async fn the_load_tester_fails_when_events_are_lost(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let unread = format!("unread-{}", Uuid::new_v4().simple());
    stack.kafka.create_topics(std::slice::from_ref(&unread)).await?;
    let rate = ["--sockets", "5", "--rate", "10", "--topic", &unread];
    let outcome = load(stack, &rate).await?;
    ensure!(outcome["passed"] == false && outcome["missing"] == 20, "{outcome}");
    Ok(())
}

/// What the tester says of a run of two seconds.
async fn load(stack: &Stack, arguments: &[&str]) -> anyhow::Result<Value> {
    let folder = workspace::temporary("load-")?;
    let result = folder.path().join("load.json");
    let gateways = stack.gateways.iter().map(|gateway| format!("ws://{}/ws", gateway.address()));
    let gateways = gateways.collect::<Vec<_>>().join(",");
    let mut command = Command::new(workspace::binary("load")?);
    command.args(["--gateway", &gateways, "--kafka", stack.kafka.bootstrap_servers()]);
    command.args(["--seconds", "2", "--warm-up", "1"]).args(arguments);
    command.arg("--json").arg(&result).env("JWT_SECRET_KEY", &stack.secret).kill_on_drop(true);
    let output = timeout(TIMEOUT, command.output()).await.context("the tester does not end")??;
    read(&result).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn read(path: &Path) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}
