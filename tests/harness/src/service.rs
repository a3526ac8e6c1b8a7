//! One of the two services as a process: its environment holds its settings only, its ports are
//! read from its log, and it restarts on the same ports.

pub mod command;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::{
    eventually, http, leaks,
    process::{Process, Signal},
    workspace,
};

/// Longest wait for a service to bind its ports.
const LISTEN_LIMIT: Duration = Duration::from_secs(20);
/// Longest wait until a service is ready; joining a consumer group takes seconds.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// Longest wait for a service to stop.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// Settings of a service: environment variables.
pub type Settings = BTreeMap<String, String>;

/// A running `ingest-worker` or `ws-gateway`.
#[derive(Debug)]
pub struct Service {
    binary: &'static str,
    program: PathBuf,
    name: String,
    folder: PathBuf,
    settings: Settings,
    starts: u32,
    process: Process,
    admin: SocketAddr,
    public: Option<SocketAddr>,
}

impl Service {
    /// Starts `binary` under `name` and waits until it listens, ready or not.
    ///
    /// # Errors
    /// When it has not been built, or does not listen in time.
    pub async fn start(
        binary: &'static str,
        name: String,
        folder: &Path,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let program = workspace::binary(binary)?;
        let log = folder.join(log_name(&name, 1));
        let process = launch_program(binary, &program, &log, &settings)?;
        let (admin, public) = addresses(&name, &process).await?;
        let folder = folder.to_owned();
        Ok(Self { binary, program, name, folder, settings, starts: 1, process, admin, public })
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it does not in time, or the service exits.
    pub async fn wait_until_ready(&self) -> anyhow::Result<()> {
        eventually(&format!("{} is ready", self.name), READY_LIMIT, async || {
            ensure!(self.process.is_running(), "it has exited: {}", self.process.log_tail());
            let (status, body) = http::get(self.admin, "/readyz").await?;
            ensure!(status == 200, "/readyz: expected status 200, got {status} {body}");
            Ok(())
        })
        .await
    }

    /// Returns the log since the last start.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.process.log())?)
    }

    /// Returns the log of each start.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn logs(&self) -> anyhow::Result<Vec<String>> {
        let path = |start| self.folder.join(log_name(&self.name, start));
        Ok((1..=self.starts)
            .map(|start| std::fs::read_to_string(path(start)))
            .collect::<Result<_, _>>()?)
    }

    /// Returns the name in the stack.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the name of the binary.
    #[must_use]
    pub fn binary(&self) -> &'static str {
        self.binary
    }

    /// Returns the secrets among the settings.
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        self.settings.iter().filter_map(|(name, value)| leaks::secret_of(name, value))
    }

    /// Returns the address for clients.
    ///
    /// # Panics
    /// If this is a worker, which has none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.public.expect("a gateway has an address for clients")
    }

    /// Returns the address of the admin server.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Returns the `/metrics` page.
    ///
    /// # Errors
    /// When the admin server does not answer.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let (status, page) = http::get(self.admin, "/metrics").await?;
        ensure!(status == 200, "/metrics of {}: {status}", self.name);
        Ok(page)
    }

    /// Returns the value of a series on the `/metrics` page; 0 if the series does not exist yet.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn metric(&self, series: &str) -> anyhow::Result<f64> {
        Ok(http::metric(&self.metrics().await?, series).unwrap_or_default())
    }

    /// Kills the process (SIGKILL).
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is not running.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// Waits until the process has exited.
    ///
    /// # Errors
    /// When it is still running after `limit`.
    pub async fn wait_for_exit(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.process.wait_for_exit(limit).await
    }

    /// Stops the service gracefully (SIGTERM) and checks that its exit code is 0.
    ///
    /// # Errors
    /// When it is not running, does not exit in time, or exits with another code.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let status = self.process.terminate(STOP_LIMIT).await?;
        ensure!(
            status.success(),
            "{} exited with {status}: {}",
            self.name,
            self.process.log_tail()
        );
        Ok(())
    }

    /// Stops the service gracefully and restarts it on the same ports as another build of it.
    ///
    /// # Errors
    /// When its exit code is not 0, or it does not become ready in time.
    pub async fn replace(&mut self, program: PathBuf) -> anyhow::Result<()> {
        self.stop().await?;
        self.program = program;
        self.restart().await
    }

    /// Restarts the service on the same ports after it has exited, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.start_again().await?;
        self.wait_until_ready().await
    }

    /// Restarts the service on the same ports after it has exited, and waits until it listens, ready
    /// or not.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        ensure!(!self.process.is_running(), "{} is still running", self.name);
        self.settings.insert("ADMIN_PORT".into(), self.admin.port().to_string());
        if let Some(public) = self.public {
            self.settings.insert("WEBSOCKET_PORT".into(), public.port().to_string());
        }
        self.starts += 1;
        let log = self.folder.join(log_name(&self.name, self.starts));
        self.process = launch_program(self.binary, &self.program, &log, &self.settings)?;
        addresses(&self.name, &self.process).await?;
        Ok(())
    }
}

fn log_name(name: &str, start: u32) -> String {
    format!("{name}.{start}.log")
}

/// Starts a service with an environment that holds only its settings.
///
/// # Errors
/// When it has not been built or cannot be started.
pub fn launch(binary: &str, log: &Path, settings: &Settings) -> anyhow::Result<Process> {
    launch_program(binary, &workspace::binary(binary)?, log, settings)
}

fn launch_program(
    name: &str,
    program: &Path,
    log: &Path,
    settings: &Settings,
) -> anyhow::Result<Process> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        command.env_remove(name);
    }
    command.env("RUST_BACKTRACE", "1").envs(settings);
    Process::start(name, &command, log)
}

/// Reads the admin and public address from the service's log.
async fn addresses(
    name: &str,
    process: &Process,
) -> anyhow::Result<(SocketAddr, Option<SocketAddr>)> {
    eventually(&format!("{name} listens"), LISTEN_LIMIT, async || {
        if let Some(line) = listening(&std::fs::read_to_string(process.log())?) {
            let address = |field: &str| line[field].as_str().map(str::parse).transpose();
            let admin = address("admin_address")?.context("no admin_address")?;
            return Ok((admin, address("address")?));
        }
        if process.is_running() {
            bail!("its log has no line with its addresses")
        }
        bail!("it has exited: {}", process.log_tail())
    })
    .await
}

/// Returns the log line with the addresses that the service listens on.
fn listening(log: &str) -> Option<Value> {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|line| line["admin_address"].is_string())
}

#[cfg(test)]
mod tests;
