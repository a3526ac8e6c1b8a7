//! Runs commands that block, so that a signal ends them.

use std::time::Duration;

use anyhow::bail;
use shared::lifecycle;
use tokio::{task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

/// How long an interrupted command may go on. A Kafka client that waits for its brokers does not
/// look for the interrupt.
const INTERRUPT_GRACE: Duration = Duration::from_secs(2);

/// Runs a command until it ends, or for [`INTERRUPT_GRACE`] after a signal.
pub(super) async fn run_blocking<T: Send + 'static>(
    command: impl FnOnce(&CancellationToken) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let interrupt = lifecycle::shutdown_on_signals();
    let interrupted = interrupt.clone();
    let command = spawn_blocking(move || command(&interrupt));
    tokio::select! {
        result = command => result?,
        () = async { interrupted.cancelled().await; sleep(INTERRUPT_GRACE).await } => {
            bail!("interrupted")
        }
    }
}
