//! From start to exit: SIGTERM or Ctrl-C cancels one token, every task is tracked, and what has
//! not ended within the grace period is given up.

use std::{
    future::Future,
    process::ExitCode,
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

/// A signal this soon after the first is the same wish to stop, delivered twice: to the process
/// and to its group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Cancelled by the first SIGTERM or SIGINT; a later one ends the process at once.
///
/// # Panics
/// If the process cannot listen for signals, or outside a Tokio runtime.
#[must_use]
pub fn shutdown_on_signals() -> CancellationToken {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened for");
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        let mut first: Option<Instant> = None;
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            match first {
                None => info!(signal = name, "stopping"),
                Some(first) if first.elapsed() < SAME_SIGNAL => continue,
                Some(_) => {
                    warn!(signal = name, "ending at once");
                    std::process::exit(130);
                }
            }
            first = Some(Instant::now());
            token.cancel();
        }
    });
    shutdown
}

/// Waits for all tracked tasks, at most for `grace`. Returns whether all of them ended.
pub async fn wait_for_tasks(tasks: &TaskTracker, grace: Duration) -> bool {
    tasks.close();
    let ended = tokio::time::timeout(grace, tasks.wait()).await.is_ok();
    if !ended {
        warn!(tasks = tasks.len(), grace_s = grace.as_secs(), "some tasks did not end in time");
    }
    ended
}

/// Runs a service and turns its end into the exit code of the process: 0 after a clean stop,
/// 1 after an error, which is logged.
pub async fn exit_code(service: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    match service.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("{problem:#}");
            ExitCode::FAILURE
        }
    }
}
