//! Instructions of the two hottest code paths, counted by Valgrind, which is independent of the
//! machine's load. The limits are the counts in `tests/bench/instructions.json`.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use harness::workspace;
use serde_json::Value;
use tokio::process::Command;

use crate::{
    env::{Env, float},
    figure::{Figure, Goal},
};

/// Names of the code paths in that file and as arguments of the instruction counter.
const CODE_PATHS: [(&str, &str); 2] =
    [("record_to_notification", "record"), ("push_to_frame", "push")];
/// Iterations of two runs; their difference leaves out the start of the program.
const ITERATIONS: [u64; 2] = [1_600, 4_800];

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let recorded: Value = serde_json::from_str(include_str!("../instructions.json"))?;
    let has_valgrind = Command::new("valgrind").arg("--version").output().await.is_ok();
    let mut figures = Vec::new();
    for (name, path) in CODE_PATHS {
        let title = format!("instructions_{name}");
        if !has_valgrind {
            figures.push(Figure::skipped(&title, "Valgrind is not installed"));
            continue;
        }
        let [few, many] = ITERATIONS.map(|times| env.pick(times / 10, times));
        let more = count(path, many).await?.saturating_sub(count(path, few).await?);
        let value = float(more) / float(many - few);
        let figure = Figure::new(&title, "instructions", vec![value], Goal::RatioAtMost(1.03));
        let limit = recorded[name].as_f64().context("instructions.json has no such path")?;
        let with = recorded["with"].as_str().unwrap_or_default();
        figures.push(figure.with_limit(limit).with_note(format!("limit: recorded with {with}")));
    }
    Ok(figures)
}

/// Returns the instructions of one run.
async fn count(path: &str, times: u64) -> anyhow::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(workspace::binary("instruction-counter")?).args([path, &times.to_string()]);
    let output = valgrind.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {stderr}");
    let line = stderr.lines().find_map(|line| line.split_once("Collected :"));
    line.and_then(|(_, count)| count.trim().parse().ok()).context("no count in Valgrind's output")
}
