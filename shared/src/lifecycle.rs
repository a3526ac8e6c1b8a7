//! Graceful shutdown: SIGTERM or SIGINT cancels one token, and tracked tasks get a grace period.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

/// Signals within this time of the first are ignored: Ctrl-C in a terminal is often delivered to
/// both the process and its group.
const REPEAT_WINDOW: Duration = Duration::from_secs(1);

/// Returns a token that the first SIGTERM or SIGINT cancels; a later signal ends the process at
/// once.
///
/// # Panics
/// If signal handlers cannot be installed, or outside a Tokio runtime.
#[must_use]
pub fn shutdown_on_signals() -> CancellationToken {
    let mut terminate =
        signal(SignalKind::terminate()).expect("a handler for SIGTERM can be installed");
    let mut interrupt =
        signal(SignalKind::interrupt()).expect("a handler for SIGINT can be installed");
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
                None => info!(signal = name, "received a signal, shutting down"),
                Some(first) if first.elapsed() < REPEAT_WINDOW => continue,
                Some(_) => {
                    warn!(signal = name, "received a second signal, exiting at once");
                    std::process::exit(130);
                }
            }
            first = Some(Instant::now());
            token.cancel();
        }
    });
    shutdown
}

/// Tasks without which a service only seems to work: a panic of one shuts the service down, so that
/// its supervisor starts it again.
#[derive(Clone, Debug)]
pub struct RequiredTasks {
    tasks: TaskTracker,
    failed: CancellationToken,
    shutdown: CancellationToken,
}

impl RequiredTasks {
    /// Returns no tasks; `shutdown` shuts the service down.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: TaskTracker::new(), failed: CancellationToken::new(), shutdown }
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Self { failed, shutdown, .. } = self.clone();
        self.tasks.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                failed.cancel();
                shutdown.cancel();
            }
        });
    }

    /// Waits for all tasks, at most `grace`.
    ///
    /// # Errors
    /// If a task has panicked.
    pub async fn wait(&self, grace: Duration) -> anyhow::Result<()> {
        wait_for_tasks(&self.tasks, grace).await;
        anyhow::ensure!(!self.failed.is_cancelled(), "a task of the service has panicked");
        Ok(())
    }
}

/// Waits for all tracked tasks, at most `grace`. Returns whether all of them ended.
pub async fn wait_for_tasks(tasks: &TaskTracker, grace: Duration) -> bool {
    tasks.close();
    let ended = tokio::time::timeout(grace, tasks.wait()).await.is_ok();
    if !ended {
        warn!(
            tasks = tasks.len(),
            grace_s = grace.as_secs(),
            "tasks still running after the grace period"
        );
    }
    ended
}

/// Runs a service, then exits the process: with code 0 after a clean shutdown, with 1 after an
/// error, which is logged. Returning from `main` instead would wait for blocking calls of other threads,
/// such as those of a Kafka client whose broker does not reply, longer than the grace period.
pub async fn run(service: impl Future<Output = anyhow::Result<()>>) -> ! {
    std::process::exit(match service.await {
        Ok(()) => 0,
        Err(error) => {
            error!(error = message(&error), "exiting after an error");
            1
        }
    })
}

/// Returns the error with its causes, without those that the text before states already.
fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.ends_with(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("NoPerm: X")]
    struct Cause;

    #[derive(Debug, Error)]
    #[error("NoPerm: X")]
    struct Repeats(#[source] Cause);

    #[derive(Debug, Error)]
    #[error("closed")]
    struct Adds(#[source] Cause);

    #[tokio::test]
    async fn a_task_that_panics_shuts_the_service_down() {
        let shutdown = CancellationToken::new();
        let tasks = RequiredTasks::new(shutdown.clone());
        tasks.spawn(async {});
        let stopped = shutdown.clone();
        tasks.spawn(async move { stopped.cancelled().await });
        tasks.spawn(async { panic!("a defect") });
        shutdown.cancelled().await;
        let error = tasks.wait(Duration::from_mins(1)).await.unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");

        let tasks = RequiredTasks::new(CancellationToken::new());
        tasks.spawn(async {});
        tasks.wait(Duration::from_mins(1)).await.unwrap();
    }

    #[test]
    fn an_error_states_each_cause_once() {
        let repeats = Err::<(), _>(Repeats(Cause)).context("Redis").unwrap_err();
        assert_eq!(message(&repeats), "Redis: NoPerm: X");
        let adds = Err::<(), _>(Adds(Cause)).context("Redis").unwrap_err();
        assert_eq!(message(&adds), "Redis: closed: NoPerm: X");
    }
}
