//! The layers: which files of a service may name Kafka's and Redis's libraries.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use harness::workspace;

use crate::{context::Context, runner::scenarios};

scenarios![only_the_infrastructure_names_kafka_and_redis,];

/// A service and its files, or folders with a `/` at the end, that may name the libraries.
const ALLOWED: &[(&str, &[&str])] = &[
    ("ingest-worker", &["infrastructure.rs", "infrastructure/", "worker.rs"]),
    (
        "ws-gateway",
        &["subscriber.rs", "subscriber/", "history.rs", "history/", "gateway.rs", "gateway/"],
    ),
];

async fn only_the_infrastructure_names_kafka_and_redis(_: &Context) -> anyhow::Result<()> {
    let mut offences = Vec::new();
    for (service, allowed) in ALLOWED {
        let sources = workspace::root().join(service).join("src");
        let files = rust_files(&sources)?;
        ensure!(!files.is_empty(), "{service} has sources");
        for file in files {
            let name = file.strip_prefix(&sources)?.to_string_lossy().into_owned();
            let is_allowed = |entry: &&str| {
                if entry.ends_with('/') { name.starts_with(*entry) } else { name == **entry }
            };
            if allowed.iter().any(is_allowed) {
                continue;
            }
            let text = std::fs::read_to_string(&file)?;
            let lines = library_lines(&text).into_iter();
            offences.extend(lines.map(|line| format!("{service}/src/{name}:{line}")));
        }
    }
    ensure!(offences.is_empty(), "these lines name rdkafka or redis: {}", offences.join(", "));
    Ok(())
}

/// The lines of code that use one of the crates. Imports from our own crates do not count:
/// `shared::redis` holds settings and connections, and no commands.
fn library_lines(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut in_own_import = false;
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap_or_default().trim();
        let own = ["use shared::", "use crate::", "use super::"];
        in_own_import |= own.iter().any(|start| code.trim_start_matches("pub ").starts_with(start));
        if !in_own_import && uses_a_library(code) {
            lines.push(number);
        }
        in_own_import &= !code.ends_with(';');
    }
    lines
}

fn uses_a_library(code: &str) -> bool {
    ["rdkafka", "redis", "deadpool_redis"].iter().any(|library| {
        code.match_indices(library).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let is_path = code[at + library.len()..].starts_with("::");
            let is_import = code.starts_with("use ") && before == Some(' ');
            let is_whole = !before.is_some_and(|c| c.is_alphanumeric() || "_:".contains(c));
            is_whole && (is_path || is_import)
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
