//! Child processes. A [`Process`] is killed on drop, and, where `setpriv` exists, when this process
//! dies: a thread per child waits for it, and the kernel kills the child when that thread ends.

use std::{
    fs::File,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, kill_process};
use tokio::sync::watch;

pub use rustix::process::Signal;

/// Longest wait for the exit of a killed process.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A running child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    log: PathBuf,
    status: watch::Receiver<Option<ExitStatus>>,
    waiting: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` with both outputs redirected to the file `log`.
    ///
    /// # Errors
    /// When the program cannot be started or the file cannot be created.
    pub fn start(name: &str, command: &Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let mut command = killed_with_parent(command);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let (started, start) = mpsc::sync_channel(1);
        let (ended, status) = watch::channel(None);
        let waiting = thread::Builder::new().name(format!("wait-{name}")).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(started.send(Ok(child.id())));
            ended.send_replace(child.wait().ok());
        })?;
        let pid = start.recv()?.with_context(|| format!("start {name}"))?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("a child has a process id")?;
        Ok(Self { name: name.to_owned(), pid, log: log.to_owned(), status, waiting: Some(waiting) })
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns the path of the log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns whether the process is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status.borrow().is_none() && self.status.has_changed().is_ok()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has exited.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        if !self.is_running() {
            bail!("{} has exited: {}", self.name, self.log_tail());
        }
        kill_process(self.pid, signal).with_context(|| format!("signal {}", self.name))
    }

    /// Waits until the process has exited.
    ///
    /// # Errors
    /// When it is still running after `limit`.
    pub async fn wait_for_exit(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let mut status = self.status.clone();
        let ended = tokio::time::timeout(limit, status.wait_for(Option::is_some)).await;
        let ended =
            ended.with_context(|| format!("{} is still running after {limit:?}", self.name))?;
        (*ended?).with_context(|| format!("{} was not waited for", self.name))
    }

    /// Kills the process (SIGKILL).
    ///
    /// # Errors
    /// When it has already exited.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_for_exit(KILL_LIMIT).await?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the exit.
    ///
    /// # Errors
    /// When the process has already exited, or is still running after `limit`.
    pub async fn terminate(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_for_exit(limit).await
    }

    /// Returns the last lines of the log, for error messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have exited already.
        drop(self.signal(Signal::KILL));
        // Waits, as the caller may remove the process's directory next.
        self.waiting.take().map(JoinHandle::join);
    }
}

/// Wraps a command so that the kernel kills it when the thread that starts it ends.
fn killed_with_parent(command: &Command) -> Command {
    let mut wrapped = if Path::new("/usr/bin/setpriv").exists() {
        let mut setpriv = Command::new("/usr/bin/setpriv");
        setpriv.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    // A process group of its own, so that Ctrl-C reaches only this process.
    wrapped.args(command.get_args()).process_group(0);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_terminated_process_reports_its_exit_status() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let sleep = Process::start("sleep", &command, &folder.path().join("log")).unwrap();
        assert!(sleep.is_running());
        let status = sleep.terminate(Duration::from_secs(5)).await.unwrap();
        assert!(!status.success() && !sleep.is_running());
        assert!(sleep.signal(Signal::KILL).is_err());
    }

    #[tokio::test]
    async fn the_output_of_a_process_is_in_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo $WORD; exit 3"]).env("WORD", "hello");
        let process = Process::start("sh", &command, &folder.path().join("log")).unwrap();
        assert_eq!(process.wait_for_exit(Duration::from_secs(5)).await.unwrap().code(), Some(3));
        assert_eq!(process.log_tail(), "hello");
    }
}
