//! The layers: which files of a service may name Kafka's and Redis's libraries.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::ensure;
use e2e::workspace;

use crate::{Scenario, scenario, world::World};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![scenario(only_the_infrastructure_names_kafka_and_redis)]
}

/// A service and its files, or folders with a `/` at the end, that may name the libraries.
const ALLOWED: &[(&str, &[&str])] = &[
    ("ingest-worker", &["infrastructure.rs", "infrastructure/", "worker.rs"]),
    (
        "ws-gateway",
        &["subscriber.rs", "subscriber/", "history.rs", "history/", "gateway.rs", "gateway/"],
    ),
];

async fn only_the_infrastructure_names_kafka_and_redis(_: Arc<World>) -> anyhow::Result<()> {
    let mut offences = Vec::new();
    for (service, allowed) in ALLOWED {
        let sources = workspace::package().join("..").join(service).join("src");
        let files = rust_files(&sources)?;
        ensure!(!files.is_empty(), "{service} has sources");
        for file in files {
            let name = file.strip_prefix(&sources)?.to_string_lossy().into_owned();
            let is_allowed = |entry: &&str| {
                if entry.ends_with('/') { name.starts_with(*entry) } else { name == **entry }
            };
            if allowed.iter().any(|entry| is_allowed(entry)) {
                continue;
            }
            let text = std::fs::read_to_string(&file)?;
            let lines = text.lines().enumerate().filter(|(_, line)| names_a_library(line));
            offences.extend(lines.map(|(line, _)| format!("{service}/src/{name}:{}", line + 1)));
        }
    }
    ensure!(offences.is_empty(), "these lines name rdkafka or redis: {}", offences.join(", "));
    Ok(())
}

/// Whether a line of code uses one of the crates; `shared::redis` is ours and holds no commands.
fn names_a_library(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["rdkafka", "redis", "deadpool_redis"].iter().any(|library| {
        code.match_indices(library).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let whole = !before.is_some_and(|c| c.is_alphanumeric() || "_:.\"".contains(c));
            let after = &code[at + library.len()..];
            let imports = after.starts_with("::")
                || (code.trim_start().starts_with("use ") && after.starts_with([';', ' ', '{']));
            whole && imports
        })
    })
}

fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}
