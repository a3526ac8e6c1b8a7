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
pub mod events;
pub mod http;
pub mod kafka;
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

/// How long to wait before looking again.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Looks until there is an answer, and returns it.
///
/// # Errors
/// When there is none within `limit`: `what` was waited for, and why it was not there last.
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
    let mut problem = anyhow!("there was no answer at all");
    loop {
        match timeout_at(deadline, probe()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(latest)) => problem = latest,
            // The last answer says more than that the next one did not come in time.
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(problem).with_context(|| format!("{what}: not within {limit:?}"));
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// A port of 127.0.0.1 that nobody listens on. Taken from below the range that the system hands
/// out by itself, so that nobody else gets it between this call and its use.
///
/// # Errors
/// When none is found.
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
    async fn waiting_ends_with_the_answer_or_with_the_last_problem() {
        let mut looks = 0;
        let answer = eventually("three looks", Duration::from_secs(5), || {
            looks += 1;
            std::future::ready(if looks == 3 { Ok(looks) } else { Err(anyhow!("no")) })
        });
        assert_eq!(answer.await.unwrap(), 3);
        let never = eventually("it", Duration::ZERO, || {
            std::future::ready(Err::<(), _>(anyhow!("closed")))
        });
        assert_eq!(format!("{:#}", never.await.unwrap_err()), "it: not within 0ns: closed");
    }
}
