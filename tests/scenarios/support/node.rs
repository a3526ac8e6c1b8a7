//! Node.js and the npm packages of the browser client, which `tests/setup.sh` installs.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::{process::Command, time::timeout};

use harness::workspace;

/// Longest time for one command; the slowest one installs packages.
const LIMIT: Duration = Duration::from_mins(3);

/// Returns the folder of the browser client.
#[must_use]
pub fn client() -> PathBuf {
    workspace::root().join("ws-gateway/client")
}

/// Returns whether the packages of the client's lock file are installed.
#[must_use]
pub fn is_ready() -> bool {
    let read = |name| std::fs::read(client().join(name)).ok();
    read("package-lock.json").is_some_and(|lock| read("node_modules/.installed") == Some(lock))
}

/// Runs a program in a folder and returns its standard output.
///
/// # Errors
/// When it fails; includes its output.
pub async fn run(folder: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("CI", "1").env("NO_COLOR", "1");
    command.kill_on_drop(true).stdin(Stdio::null());
    let what = || format!("{program} {}", arguments.join(" "));
    let output = timeout(LIMIT, command.output()).await.with_context(what)?.with_context(what)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}\n{stdout}{stderr}", what(), output.status);
    Ok(stdout)
}
