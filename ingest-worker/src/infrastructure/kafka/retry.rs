//! The one place that retries: the same again, with growing pauses, for as long as it takes.

use std::{future::Future, time::Duration};

use tracing::{info, warn};

use crate::{metrics::Metrics, notification::publisher::TransientError};

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: how late a recovery may be noticed. What waited is to be told within a
/// second after it.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How many ways to fail are told of an outage: the first may only be how it began.
const MOST_TOLD: usize = 3;

/// Tries `attempt` until it works. Warns once an outage of each of the first ways in which it
/// fails, and says when it is over.
pub async fn until_done<T, F>(metrics: &Metrics, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, TransientError>>,
{
    let mut pause = FIRST_PAUSE;
    let (mut failures, mut told) = (0_u64, Vec::new());
    loop {
        match attempt().await {
            Ok(done) => {
                if failures > 0 {
                    info!(failures, "working again");
                }
                return done;
            }
            Err(transient) => {
                failures += 1;
                metrics.retries.of(transient.system).inc();
                if told.len() < MOST_TOLD && !told.contains(&transient.detail) {
                    warn!(
                        system = transient.system.label(),
                        reason = transient.detail,
                        "not now, trying again"
                    );
                    told.push(transient.detail);
                }
            }
        }
        // Without jitter, workers that failed together come back together.
        let jitter = pause.mul_f64(jitter());
        tokio::time::sleep(pause / 2 + jitter / 2).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A number in 0..1 that differs between processes and calls.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::publisher::System;

    #[tokio::test(start_paused = true)]
    async fn the_same_is_tried_until_it_works() {
        let metrics = Metrics::new(&prometheus::Registry::new());
        let mut left = 20;
        let done = until_done(&metrics, || {
            left -= 1;
            let outcome = if left == 0 {
                Ok("done")
            } else {
                Err(TransientError { system: System::Redis, detail: "told to fail".into() })
            };
            async move { outcome }
        });
        assert_eq!(done.await, "done");
        assert_eq!(metrics.retries.of(System::Redis).get(), 19);
    }
}
