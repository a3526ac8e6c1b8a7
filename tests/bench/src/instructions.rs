//! How many instructions the two hottest pieces need, counted by Valgrind: the same on a busy
//! machine and on a quiet one. Those of `tests/bench/instructions.json` are what they are compared with.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use harness::workspace;
use serde_json::Value;
use tokio::process::Command;

use crate::{
    figure::{Goal, Row},
    setup::{Setup, float},
};

/// The pieces, by their names there and as arguments.
const PIECES: [(&str, &str); 2] = [("parse_route_notify", "parse"), ("frame_out", "frame")];
/// What is needed once is in both, and so in neither's difference.
const TIMES: [u64; 2] = [1_600, 4_800];

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let kept: Value = serde_json::from_str(include_str!("../instructions.json"))?;
    let is_counted = Command::new("valgrind").arg("--version").output().await.is_ok();
    let mut rows = Vec::new();
    for (name, piece) in PIECES {
        let title = format!("instructions_{name}");
        if !is_counted {
            rows.push(Row::left_out(&title, "there is no valgrind on this machine"));
            continue;
        }
        let [few, many] = TIMES.map(|times| setup.pick(times / 10, times));
        let more = count(piece, many).await?.saturating_sub(count(piece, few).await?);
        let value = float(more) / float(many - few);
        let row = Row::of(&title, "instructions", vec![value], Goal::RatioAtMost(1.03));
        let limit = kept[name].as_f64().context("it was counted before")?;
        let with = kept["with"].as_str().unwrap_or_default();
        rows.push(row.beside(limit).noted(format!("limit: what was counted with {with}")));
    }
    Ok(rows)
}

/// Instructions of a whole run.
async fn count(piece: &str, times: u64) -> anyhow::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(workspace::binary("instruction-counter")?).args([piece, &times.to_string()]);
    let output = valgrind.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {said}");
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    line.and_then(|(_, count)| count.trim().parse().ok()).context("it says how many")
}
