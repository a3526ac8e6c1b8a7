//! Starts and controls the [client processes](super::client_process).

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use harness::workspace;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    messages::{Command, Progress, Report},
    plan::ClientPlan,
    stats::ClientStats,
};

/// Longest time until a process has signed its tokens.
const READY_LIMIT: Duration = Duration::from_mins(2);
/// Longest time until a process has reported its statistics.
const FINISH_LIMIT: Duration = Duration::from_secs(30);

/// The processes that hold the sockets of a plan. They end when this is dropped.
#[derive(Debug)]
pub struct ClientProcesses {
    /// What they do.
    pub plan: ClientPlan,
    processes: Vec<ClientProcess>,
}

#[derive(Debug)]
struct ClientProcess {
    /// Killed on drop.
    child: Child,
    input: ChildStdin,
    progress: watch::Receiver<Progress>,
    reports: JoinHandle<anyhow::Result<ClientStats>>,
}

impl ClientProcesses {
    /// Starts the processes and waits until they have signed their tokens.
    ///
    /// # Errors
    /// When a process cannot be started or cannot sign its tokens.
    pub async fn start(plan: ClientPlan) -> anyhow::Result<Self> {
        ensure!(plan.sockets > 0 && plan.user_count() > 0, "the plan has no sockets or no users");
        let mut processes = Vec::with_capacity(plan.processes);
        for number in 0..plan.processes {
            processes.push(ClientProcess::start(&plan, number).await?);
        }
        Ok(Self { plan, processes })
    }

    /// Connects all sockets; returns how long that took.
    ///
    /// # Errors
    /// When a socket is not connected within `limit`.
    pub async fn connect(&mut self, limit: Duration) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.send(&Command::Connect).await?;
        let all = self.plan.sockets as u64;
        self.wait_until("all sockets are connected", limit, |now| now.connected == all).await?;
        Ok(begun.elapsed())
    }

    /// Starts recording the latencies of events scheduled from then on; see [`now`](super::now).
    ///
    /// # Errors
    /// When a process has ended.
    pub async fn record_from(&mut self, from: u64) -> anyhow::Result<()> {
        self.send(&Command::RecordFrom(from)).await
    }

    /// Returns the progress of all processes together.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut sum = Progress::default();
        for process in &self.processes {
            let progress = *process.progress.borrow();
            sum.connected += progress.connected;
            sum.received += progress.received;
            sum.refused += progress.refused;
            sum.worst_us = sum.worst_us.max(progress.worst_us);
        }
        sum
    }

    /// Waits until the progress of all processes satisfies `is_met`; returns how long that took.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn wait_until(
        &self,
        what: &str,
        limit: Duration,
        is_met: impl Fn(&Progress) -> bool,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while !is_met(&self.progress()) {
            let progress = self.progress();
            ensure!(begun.elapsed() < limit, "{what}: not within {limit:?}: {progress:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(begun.elapsed())
    }

    /// Ends the processes after `events` events in all; returns their statistics.
    ///
    /// # Errors
    /// When a process has ended before.
    pub async fn finish(mut self, events: u64) -> anyhow::Result<ClientStats> {
        self.send(&Command::Finish(events)).await?;
        let mut sum = ClientStats::default();
        for process in &mut self.processes {
            let stats = timeout(FINISH_LIMIT, &mut process.reports).await;
            sum.add(&stats.context("a client process did not report its statistics")???);
            let exit = timeout(FINISH_LIMIT, process.child.wait()).await;
            exit.context("a client process did not exit")??;
        }
        Ok(sum)
    }

    async fn send(&mut self, command: &Command) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.send(command).await?;
        }
        Ok(())
    }
}

impl ClientProcess {
    async fn start(plan: &ClientPlan, number: usize) -> anyhow::Result<Self> {
        let mut command = tokio::process::Command::new(program()?);
        command.arg("clients").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("start a client process")?;
        let input = child.stdin.take().context("standard input is piped")?;
        let output = child.stdout.take().context("standard output is piped")?;
        let (sender, mut progress) = watch::channel(Progress::default());
        let (ready, is_ready) = oneshot::channel();
        let reports = tokio::spawn(read_reports(BufReader::new(output).lines(), ready, sender));
        let mut process = Self { child, input, progress: progress.clone(), reports };
        process.send(&Command::Start(Box::new(plan.clone()), number)).await?;
        let signed = timeout(READY_LIMIT, is_ready).await;
        if signed.context("a client process has not signed its tokens")?.is_err() {
            return Err(process.failure().await);
        }
        progress.mark_unchanged();
        Ok(process)
    }

    /// Returns why the process has ended.
    async fn failure(&mut self) -> anyhow::Error {
        match (&mut self.reports).await {
            Ok(Err(problem)) => problem,
            _ => anyhow::anyhow!("a client process has ended"),
        }
    }

    async fn send(&mut self, command: &Command) -> anyhow::Result<()> {
        let line = serde_json::to_string(command)? + "\n";
        self.input.write_all(line.as_bytes()).await.context("a client process has ended")
    }
}

async fn read_reports(
    mut lines: Lines<BufReader<ChildStdout>>,
    ready: oneshot::Sender<()>,
    progress: watch::Sender<Progress>,
) -> anyhow::Result<ClientStats> {
    let mut ready = Some(ready);
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line).with_context(|| line.clone())? {
            Report::Ready => drop(ready.take().map(|ready| ready.send(()))),
            Report::Progress(new) => drop(progress.send_replace(new)),
            Report::Finished(stats) => return Ok(*stats),
        }
    }
    bail!("a client process has ended; its standard error has the reason")
}

/// Returns the path of the load tester: this program, or the one in its directory.
fn program() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let is_load = this.file_stem().is_some_and(|name| name == "load");
    if is_load { Ok(this) } else { workspace::binary("load") }
}
