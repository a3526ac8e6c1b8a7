//! Publishes a probe that must be received through the subscription. A subscribed connection can be
//! open to a server to which nothing is published any more, such as a former master behind an
//! unchanged address: it answers every check, but delivers nothing.

use std::{sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError, RedisResult, cmd};
use shared::redis::RedisClient;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::debug;
use uuid::Uuid;

use crate::metrics::{Metrics, ProbeResult};

/// The time between probes. With two lost probes of [`RETURN_TIMEOUT`] each, a silent subscription
/// is detected within 10 s.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long a probe may take until it is received.
const RETURN_TIMEOUT: Duration = Duration::from_secs(3);

/// The probes of one session. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// Distinguishes the probes of this session from those of other gateways and sessions.
    id: Uuid,
    /// The number of the newest probe that was received.
    returned: Arc<watch::Sender<u64>>,
}

/// Publishes probes, to wherever a publisher that connects now would publish.
pub(super) trait PublishProbe {
    async fn publish(&self, probe: String) -> RedisResult<()>;
}

impl PublishProbe for RedisClient {
    async fn publish(&self, probe: String) -> RedisResult<()> {
        // A new connection: an open one may be to the same server as the subscription.
        let connection = self.connect().await?;
        let mut publish = cmd("PUBLISH");
        publish.arg(self.keys.probe_channel()).arg(probe);
        for reply in connection.run(vec![publish]).await? {
            reply?;
        }
        Ok(())
    }
}

impl Probe {
    pub(super) fn new() -> Self {
        Self { id: Uuid::new_v4(), returned: Arc::new(watch::Sender::new(0)) }
    }

    /// Records a probe that was received; those of other gateways are ignored.
    pub(super) fn receive(&self, probe: &str) {
        let own = probe.split_once(' ').filter(|(id, _)| id.parse() == Ok(self.id));
        if let Some(number) = own.and_then(|(_, number)| number.parse::<u64>().ok()) {
            self.returned.send_if_modified(|newest| {
                let is_newer = number > *newest;
                *newest = number.max(*newest);
                is_newer
            });
        }
    }

    /// Probes until two probes in a row are lost. One that cannot be published shows nothing about
    /// the subscription.
    pub(super) async fn run(&self, publisher: &impl PublishProbe, metrics: &Metrics) -> RedisError {
        let (mut number, mut lost) = (0, 0);
        while lost < 2 {
            if lost == 0 {
                sleep(INTERVAL).await;
            }
            number += 1;
            if let Err(error) = publisher.publish(format!("{} {number}", self.id)).await {
                debug!(%error, "publishing a probe failed");
                metrics.probes.of(ProbeResult::Failed).inc();
                sleep(INTERVAL).await;
                continue;
            }
            let mut returned = self.returned.subscribe();
            let oldest = number - lost;
            let is_back = timeout(RETURN_TIMEOUT, returned.wait_for(|newest| *newest >= oldest));
            let result = if is_back.await.is_ok() {
                lost = 0;
                ProbeResult::Returned
            } else {
                lost += 1;
                ProbeResult::Lost
            };
            metrics.probes.of(result).inc();
        }
        (ErrorKind::Io, "published probes are not received").into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use prometheus::Registry;
    use tokio::time::Instant;

    use super::*;

    /// Returns probes to a session, until a number; fails to publish some.
    struct FakePublisher {
        probe: Probe,
        returns: u64,
        fails: Vec<u64>,
        published: Mutex<u64>,
    }

    impl PublishProbe for FakePublisher {
        async fn publish(&self, probe: String) -> RedisResult<()> {
            let mut published = self.published.lock().unwrap();
            *published += 1;
            if self.fails.contains(&published) {
                return Err((ErrorKind::Io, "connection refused").into());
            }
            if *published <= self.returns {
                self.probe.receive(&probe);
            }
            Ok(())
        }
    }

    fn publisher(returns: u64, fails: &[u64]) -> FakePublisher {
        let (probe, fails) = (Probe::new(), fails.to_vec());
        FakePublisher { probe, returns, fails, published: Mutex::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_that_receives_no_probe_is_detected_within_10_s() {
        let publisher = publisher(5, &[]);
        let (start, metrics) = (Instant::now(), Metrics::new(&Registry::new()));
        publisher.probe.run(&publisher, &metrics).await;
        // The fifth probe is the last that is received.
        assert_eq!(start.elapsed(), 5 * INTERVAL + INTERVAL + 2 * RETURN_TIMEOUT);
        assert_eq!(metrics.probes.of(ProbeResult::Returned).get(), 5);
        assert_eq!(metrics.probes.of(ProbeResult::Lost).get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_that_return_or_cannot_be_published_do_not_end_the_session() {
        let publisher = publisher(u64::MAX, &[2, 3, 4, 5]);
        let metrics = Metrics::new(&Registry::new());
        let run = publisher.probe.run(&publisher, &metrics);
        assert!(timeout(Duration::from_mins(5), run).await.is_err());
        assert_eq!(metrics.probes.of(ProbeResult::Failed).get(), 4);
    }

    #[test]
    fn probes_of_other_sessions_are_ignored() {
        let probe = Probe::new();
        for other in ["", "1", "x 1", &format!("{} 1", Uuid::nil()), &format!("{} x", probe.id)] {
            probe.receive(other);
        }
        assert_eq!(*probe.returned.borrow(), 0);
        probe.receive(&format!("{} 3", probe.id));
        assert_eq!(*probe.returned.borrow(), 3);
    }
}
