//! A process that holds sockets: reads [`Command`]s on standard input and writes [`Report`]s to
//! standard output. It exits when its input ends.

use std::{
    io::{BufRead as _, Write as _},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    clients::Clients,
    messages::{Command, Report},
    now,
};

/// Interval between progress reports.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);
/// Shortest pause after a failed attempt to connect; the longest is twice as long.
const RETRY_PAUSE_MS: u64 = 50;

/// Runs until the [`Command::Finish`] or the end of the input.
///
/// # Errors
/// When a command cannot be parsed or comes out of order.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(run_commands());
    // Closing the sockets one by one would take long.
    runtime.shutdown_background();
    result
}

async fn run_commands() -> anyhow::Result<()> {
    let (sender, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let first = lines.recv().await.context("the input ended before the first command")?;
    let Command::Start(plan, process) = serde_json::from_str(&first)? else {
        bail!("the first command is not Start: {first}");
    };
    let clients = Arc::new(Clients::new(*plan, process).await?);
    report(&Report::Ready)?;
    let mut ticks = interval(REPORT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let line = tokio::select! {
            _ = ticks.tick() => {
                if let Some(progress) = clients.changed_progress() {
                    report(&Report::Progress(progress))?;
                }
                continue;
            }
            line = lines.recv() => line,
        };
        let Some(line) = line else { return Ok(()) };
        match serde_json::from_str(&line)? {
            Command::Connect => {
                for number in clients.sockets() {
                    tokio::spawn(run_client(Arc::clone(&clients), number));
                }
            }
            Command::RecordFrom(from) => clients.record_from(from),
            Command::Finish(events) => {
                return report(&Report::Finished(Box::new(clients.stats(events)?)));
            }
            Command::Start(..) => bail!("a second Start command"),
        }
    }
}

fn report(report: &Report) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(report)?)?;
    Ok(out.flush()?)
}

/// Connects, receives, and reconnects as the plan says.
async fn run_client(clients: Arc<Clients>, number: usize) {
    let (mut position, mut lost_at) = (None, None);
    let mut turn = if clients.plan.start_at_first_gateway { 0 } else { number };
    loop {
        let Ok(mut socket) = clients.open(number, turn, &mut position, lost_at).await else {
            turn += 1;
            clients.record_refused();
            let pause = rand::random_range(RETRY_PAUSE_MS..2 * RETRY_PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
            continue;
        };
        clients.record_connect(lost_at);
        if clients.plan.is_stalled(number) {
            // Keeps the socket open and reads nothing.
            return std::future::pending().await;
        }
        let by_client = clients.receive(&mut socket, number, &mut position).await;
        drop(socket);
        clients.record_disconnect(by_client);
        if !by_client && !clients.plan.reconnect {
            return;
        }
        lost_at = (!by_client).then(now);
        turn += 1;
    }
}
