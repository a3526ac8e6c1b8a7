//! Runs operator commands of a service's binary.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use super::Service;
use crate::workspace;

/// Longest time for an operator command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(40);

/// Output of an operator command.
#[derive(Debug)]
pub struct CommandOutput {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; none after a signal.
    pub code: Option<i32>,
}

impl Service {
    /// Runs an operator command of the binary with the service's settings.
    ///
    /// # Errors
    /// When it fails or does not end in time.
    pub async fn run_command(
        &self,
        arguments: &[&str],
        input: &str,
    ) -> anyhow::Result<CommandOutput> {
        let output = self.command(arguments, &[], input).await?;
        let CommandOutput { code, stderr, .. } = &output;
        let status = code.map_or("a signal".to_owned(), |code| code.to_string());
        ensure!(*code == Some(0), "{arguments:?}: exit status: {status}: {stderr}");
        Ok(output)
    }

    /// Runs an operator command with the service's settings, of which `changed` replaces some.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    pub async fn command(
        &self,
        arguments: &[&str],
        changed: &[(&str, String)],
        input: &str,
    ) -> anyhow::Result<CommandOutput> {
        let mut command = Command::new(workspace::binary(self.binary)?);
        command.args(arguments).env_clear().envs(&self.settings).kill_on_drop(true);
        command.env("ADMIN_PORT", self.admin.port().to_string());
        command.envs(changed.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let mut stdin = process.stdin.take().context("standard input is piped")?;
        // A command that reads no input may have ended.
        stdin.write_all(input.as_bytes()).await.ok();
        drop(stdin);
        let output = timeout(COMMAND_TIMEOUT, process.wait_with_output())
            .await
            .context("the command did not end")??;
        let [stdout, stderr] = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(CommandOutput { stdout, stderr, code: output.status.code() })
    }
}
