//! Node.js and the packages with which the browser client is checked and built; `tests/setup.sh`
//! installs them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::{process::Command, time::timeout};

use harness::workspace;

/// Longest time for one command; the slowest installs packages.
const LIMIT: Duration = Duration::from_mins(3);

/// The browser client's folder.
#[must_use]
pub fn client() -> PathBuf {
    workspace::root().join("ws-gateway/client")
}

/// Whether exactly the packages that the client asks for are installed.
#[must_use]
pub fn is_ready() -> bool {
    let read = |name| std::fs::read(client().join(name)).ok();
    read("package-lock.json").is_some_and(|lock| read("node_modules/.installed") == Some(lock))
}

/// Runs a program in a folder and returns what it said.
///
/// # Errors
/// When it fails; says what it said.
pub async fn run(folder: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("CI", "1").env("NO_COLOR", "1");
    command.kill_on_drop(true).stdin(Stdio::null());
    let what = || format!("{program} {}", arguments.join(" "));
    let output = timeout(LIMIT, command.output()).await.with_context(what)?.with_context(what)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}\n{said}{complained}", what(), output.status);
    Ok(said)
}
