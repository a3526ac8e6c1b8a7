//! Starts both services as processes on real Kafka and Redis servers, on free ports.
//!
//! [`stack::Stack`] starts everything in a directory of its own and stops it; [`kafka`] and
//! [`redis`] are the servers, [`producer`] and [`client`] the two ends of the path, [`events`] the
//! events that are sent, [`leaks`] searches logs and metrics for secrets, [`usage`] reads the
//! memory and processor time of processes.

use std::{future::Future, net::TcpListener, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

pub mod certificates;
pub mod client;
pub mod event_feed;
pub mod events;
pub mod http;
pub mod inspection_proxy;
pub mod kafka;
pub mod kafka_acls;
pub mod leaks;
pub mod process;
pub mod producer;
pub mod proxy;
pub mod redis;
pub mod service;
pub mod stack;
pub mod token;
pub mod usage;
pub mod workspace;

/// Pause between two attempts of [`eventually`].
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Calls `probe` until it succeeds and returns its result.
///
/// # Errors
/// When it does not succeed within `limit`: `what` was awaited, and the last error.
pub async fn eventually<T, Probe, Answer>(
    what: &str,
    limit: Duration,
    mut probe: Probe,
) -> anyhow::Result<T>
where
    Probe: FnMut() -> Answer,
    Answer: Future<Output = anyhow::Result<T>>,
{
    let deadline = Instant::now() + limit;
    let mut problem = anyhow!("the first attempt did not return");
    loop {
        match timeout_at(deadline, probe()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(latest)) => problem = latest,
            // The error of an earlier attempt says more than the timeout.
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(problem).with_context(|| format!("{what}: not within {limit:?}"));
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns a free port of 127.0.0.1 from below the ephemeral range, so that the system does not
/// assign it to another socket before it is used.
///
/// # Errors
/// When no free port is found.
pub fn free_port() -> anyhow::Result<u16> {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..100)
        .map(|_| rand::random_range(10_000..32_000))
        .find(free)
        .context("no free port between 10000 and 32000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn eventually_returns_the_first_success_or_the_last_error() {
        let mut attempts = 0;
        let answer = eventually("three attempts", Duration::from_secs(5), || {
            attempts += 1;
            std::future::ready(if attempts == 3 { Ok(attempts) } else { Err(anyhow!("no")) })
        });
        assert_eq!(answer.await.unwrap(), 3);
        let never = eventually("it", Duration::ZERO, || {
            std::future::ready(Err::<(), _>(anyhow!("closed")))
        });
        assert_eq!(format!("{:#}", never.await.unwrap_err()), "it: not within 0ns: closed");
    }
}
