//! Child processes. A [`Process`] ends when it is dropped, and also when this process is killed:
//! each is waited for by a thread of its own, and where `setpriv` exists the kernel kills the
//! child as soon as that thread is gone.

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

/// How long a process may take to end once it was killed.
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
    /// Starts `command` with both outputs going to the file `log`.
    ///
    /// # Errors
    /// When the program or the file cannot be opened.
    pub fn start(name: &str, command: &Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let mut command = tied_to_this_process(command);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let (started, start) = mpsc::sync_channel(1);
        let (ended, status) = watch::channel(None);
        let waiting = thread::Builder::new().name(format!("wait-{name}")).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                // The receiver waits below.
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(started.send(Ok(child.id())));
            ended.send_replace(child.wait().ok());
        })?;
        let pid = start.recv()?.with_context(|| format!("start {name}"))?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("a child has a process id")?;
        Ok(Self { name: name.to_owned(), pid, log: log.to_owned(), status, waiting: Some(waiting) })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// The file with everything the process has written.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status.borrow().is_none() && self.status.has_changed().is_ok()
    }

    /// Sends a signal to it.
    ///
    /// # Errors
    /// When it has already ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        if !self.is_running() {
            bail!("{} has ended: {}", self.name, self.log_tail());
        }
        kill_process(self.pid, signal).with_context(|| format!("signal {}", self.name))
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it has not ended within `limit`.
    pub async fn wait_for_exit(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let mut status = self.status.clone();
        let ended = tokio::time::timeout(limit, status.wait_for(Option::is_some)).await;
        let ended = ended.with_context(|| format!("{} still runs after {limit:?}", self.name))?;
        (*ended?).with_context(|| format!("{} was not waited for", self.name))
    }

    /// Ends it at once, without a chance to clean up (`kill -9`).
    ///
    /// # Errors
    /// When it has already ended.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_for_exit(KILL_LIMIT).await?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it has already ended, or does not end within `limit`.
    pub async fn terminate(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_for_exit(limit).await
    }

    /// The last lines it has written, for error messages.
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
        // Nothing to do about a process that is already gone.
        drop(self.signal(Signal::KILL));
        // Its directory may be removed next, so it must be gone.
        self.waiting.take().map(JoinHandle::join);
    }
}

/// The same command, ended by the kernel when the thread that starts it ends.
fn tied_to_this_process(command: &Command) -> Command {
    let mut tied = if Path::new("/usr/bin/setpriv").exists() {
        let mut setpriv = Command::new("/usr/bin/setpriv");
        setpriv.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    // A group of its own: Ctrl-C is for us, and we end our children in order.
    tied.args(command.get_args()).process_group(0);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_can_be_ended_and_says_how_it_ended() {
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
    async fn what_a_process_writes_is_in_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo $WORD; exit 3"]).env("WORD", "hello");
        let process = Process::start("sh", &command, &folder.path().join("log")).unwrap();
        assert_eq!(process.wait_for_exit(Duration::from_secs(5)).await.unwrap().code(), Some(3));
        assert_eq!(process.log_tail(), "hello");
    }
}
