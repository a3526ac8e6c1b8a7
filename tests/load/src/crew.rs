//! The processes that hold the sockets, from the outside.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::{
    plan::{Crowd, Order, Progress, Word},
    tally::Tally,
};
use harness::workspace;

/// Longest time to sign all tokens.
const READY_LIMIT: Duration = Duration::from_mins(2);
/// Longest time to add up.
const FINISH_LIMIT: Duration = Duration::from_secs(30);

/// Processes that hold the sockets of a crowd. Dropped, they end.
#[derive(Debug)]
pub struct Crew {
    /// What they do.
    pub crowd: Crowd,
    seats: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    /// Killed when it is dropped.
    process: Child,
    orders: ChildStdin,
    progress: watch::Receiver<Progress>,
    listening: JoinHandle<anyhow::Result<Tally>>,
}

impl Crew {
    /// Starts the processes and waits until they could connect.
    ///
    /// # Errors
    /// When one of them cannot be started, or cannot sign its tokens.
    pub async fn gather(crowd: Crowd) -> anyhow::Result<Self> {
        ensure!(crowd.sockets > 0 && crowd.user_count() > 0, "there is nobody");
        let mut seats = Vec::with_capacity(crowd.seats);
        for number in 0..crowd.seats {
            seats.push(Seat::take(&crowd, number).await?);
        }
        Ok(Self { crowd, seats })
    }

    /// Connects everybody; returns how long that took.
    ///
    /// # Errors
    /// When somebody is not connected within `limit`.
    pub async fn connect(&mut self, limit: Duration) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.tell(&Order::Connect).await?;
        let all = self.crowd.sockets as u64;
        self.until("everybody is connected", limit, |stand| stand.connected == all).await?;
        Ok(begun.elapsed())
    }

    /// Has the lateness of events noted that are due from then on; see [`now`](super::now).
    ///
    /// # Errors
    /// When a process has ended.
    pub async fn record(&mut self, from: u64) -> anyhow::Result<()> {
        self.tell(&Order::Record(from)).await
    }

    /// How all of them stand.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut sum = Progress::default();
        for seat in &self.seats {
            let progress = *seat.progress.borrow();
            sum.connected += progress.connected;
            sum.received += progress.received;
            sum.refused += progress.refused;
            sum.worst_us = sum.worst_us.max(progress.worst_us);
        }
        sum
    }

    /// Waits until all together stand so; returns how long that took.
    ///
    /// # Errors
    /// When they do not within `limit`.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        enough: impl Fn(&Progress) -> bool,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while !enough(&self.progress()) {
            let stand = self.progress();
            ensure!(begun.elapsed() < limit, "{what}: not within {limit:?}: {stand:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(begun.elapsed())
    }

    /// Ends it after so many events in all, and adds up.
    ///
    /// # Errors
    /// When a process has ended before.
    pub async fn finish(mut self, events: u64) -> anyhow::Result<Tally> {
        self.tell(&Order::Finish(events)).await?;
        let mut sum = Tally::default();
        for seat in &mut self.seats {
            let tally = timeout(FINISH_LIMIT, &mut seat.listening).await;
            sum.add(&tally.context("a process does not add up")???);
            timeout(FINISH_LIMIT, seat.process.wait())
                .await
                .context("a process does not end")??;
        }
        Ok(sum)
    }

    async fn tell(&mut self, order: &Order) -> anyhow::Result<()> {
        for seat in &mut self.seats {
            seat.tell(order).await?;
        }
        Ok(())
    }
}

impl Seat {
    async fn take(crowd: &Crowd, number: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(program()?);
        command.arg("seat").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("start a process for sockets")?;
        let orders = process.stdin.take().context("its input is ours")?;
        let words = BufReader::new(process.stdout.take().context("its output is ours")?).lines();
        let (sender, mut progress) = watch::channel(Progress::default());
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let listening = tokio::spawn(listen(words, ready, sender));
        let mut seat = Self { process, orders, progress: progress.clone(), listening };
        seat.tell(&Order::Sit(Box::new(crowd.clone()), number)).await?;
        match timeout(READY_LIMIT, is_ready).await.context("signing tokens takes too long")? {
            Ok(()) => {}
            Err(_) => return Err(seat.problem().await),
        }
        progress.mark_unchanged();
        Ok(seat)
    }

    /// Why it ended.
    async fn problem(&mut self) -> anyhow::Error {
        match (&mut self.listening).await {
            Ok(Err(problem)) => problem,
            _ => anyhow::anyhow!("a process for sockets has ended"),
        }
    }

    async fn tell(&mut self, order: &Order) -> anyhow::Result<()> {
        let line = serde_json::to_string(order)? + "\n";
        self.orders.write_all(line.as_bytes()).await.context("a process for sockets has ended")
    }
}

async fn listen(
    mut words: Lines<BufReader<ChildStdout>>,
    ready: tokio::sync::oneshot::Sender<()>,
    progress: watch::Sender<Progress>,
) -> anyhow::Result<Tally> {
    let mut ready = Some(ready);
    while let Some(line) = words.next_line().await? {
        match serde_json::from_str(&line).with_context(|| line.clone())? {
            Word::Ready => drop(ready.take().map(|ready| ready.send(()))),
            Word::Progress(new) => drop(progress.send_replace(new)),
            Word::Done(tally) => return Ok(*tally),
        }
    }
    bail!("a process for sockets has ended; it has said why")
}

/// The load tester itself, or the one beside this program.
fn program() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let is_tester = this.file_stem().is_some_and(|name| name == "load");
    if is_tester { Ok(this) } else { workspace::binary("load") }
}
