//! The retry of a batch while a backend as a whole is unavailable: the same call again, with
//! back-off, until it succeeds.

use std::{future::Future, time::Duration};

use shared::backoff::Backoff;
use tracing::{info, warn};

use crate::{metrics::Metrics, notification::publisher::TransientError};

/// The maximum is the longest delay until a recovery is noticed: what waits is to be published
/// within a second after it.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));

/// Different errors that are logged per outage; the first may only be how the outage began.
const MAX_LOGGED: usize = 3;

/// Repeats `attempt` until it succeeds. Logs the first error as a warning, the next different ones
/// and the recovery for information.
pub(crate) async fn until_success<T, F>(metrics: &Metrics, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, TransientError>>,
{
    let (mut backoff, mut logged) = (BACKOFF, Vec::new());
    loop {
        match attempt().await {
            Ok(output) => {
                if backoff.attempts() > 0 {
                    info!(attempts = backoff.attempts() + 1, "delivery succeeded after retries");
                }
                return output;
            }
            Err(TransientError { system, detail }) => {
                metrics.retries.of(system).inc();
                if logged.len() < MAX_LOGGED && !logged.contains(&detail) {
                    let system = system.label();
                    if logged.is_empty() {
                        warn!(system, error = detail, "delivery failed, retrying");
                    } else {
                        info!(system, error = detail, "delivery still fails, retrying");
                    }
                    logged.push(detail);
                }
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::publisher::System;

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_repeated_until_it_succeeds() {
        let metrics = Metrics::new(&prometheus::Registry::new());
        let mut left = 20;
        let output = until_success(&metrics, || {
            left -= 1;
            let result = if left == 0 {
                Ok("done")
            } else {
                Err(TransientError { system: System::Redis, detail: "outage".into() })
            };
            async move { result }
        });
        assert_eq!(output.await, "done");
        assert_eq!(metrics.retries.of(System::Redis).get(), 19);
    }
}
