//! Publishes probes that must be received through the subscriptions, one for each server. A
//! subscribed connection can be open to a server to which nothing is published any more, such as a
//! former master behind an unchanged address: it answers every check, but delivers nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{ErrorKind, RedisError, RedisResult, cmd};
use shared::redis::{RedisClient, RedisConnection};
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
    /// A channel of each server that publishes.
    channels: Arc<Mutex<Vec<String>>>,
    /// The number of the newest probe that was received, by channel.
    returned: Arc<watch::Sender<HashMap<String, u64>>>,
}

/// Publishes a probe to each channel, to wherever a publisher that connects now would publish.
pub(super) trait PublishProbe {
    async fn publish(&self, channels: &[String], probe: &str) -> RedisResult<()>;
}

impl PublishProbe for RedisClient {
    async fn publish(&self, channels: &[String], probe: &str) -> RedisResult<()> {
        // A new connection: an open one may be to the same server as the subscription.
        self.connect().await?.publish(channels, probe).await
    }
}

impl PublishProbe for RedisConnection {
    async fn publish(&self, channels: &[String], probe: &str) -> RedisResult<()> {
        let publish = |channel| cmd("PUBLISH").arg(channel).arg(probe).to_owned();
        for reply in self.run(channels.iter().map(publish).collect()).await? {
            reply?;
        }
        Ok(())
    }
}

impl Probe {
    pub(super) fn new() -> Self {
        Self { id: Uuid::new_v4(), channels: Arc::default(), returned: Arc::default() }
    }

    /// Sets the channels that are probed, which are subscribed.
    pub(super) fn set_channels(&self, channels: Vec<String>) {
        *self.channels.lock().unwrap_or_else(PoisonError::into_inner) = channels;
    }

    fn channels(&self) -> Vec<String> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a probe that was received; those of other gateways are ignored.
    pub(super) fn receive(&self, channel: &str, probe: &str) {
        let own = probe.split_once(' ').filter(|(id, _)| id.parse() == Ok(self.id));
        if let Some(number) = own.and_then(|(_, number)| number.parse::<u64>().ok()) {
            self.returned.send_modify(|returned| {
                let newest = returned.entry(channel.to_owned()).or_default();
                *newest = number.max(*newest);
            });
        }
    }

    /// Checks that what is published through `connection` is received: it is open to the server
    /// where the channels are subscribed, and not to another one behind the same address, whose
    /// data are those of a former master. A probe that cannot be published shows nothing.
    ///
    /// # Errors
    /// If the probe is not received in time.
    pub(super) async fn verify(&self, connection: &impl PublishProbe) -> RedisResult<()> {
        let channels = self.channels();
        if let Err(error) = connection.publish(&channels, &format!("{} 0", self.id)).await {
            debug!(%error, "publishing the first probe failed");
            return Ok(());
        }
        if timeout(RETURN_TIMEOUT, self.are_back(&channels, 0)).await.is_err() {
            let error = "commands and subscriptions are at different servers";
            return Err((ErrorKind::Io, error).into());
        }
        Ok(())
    }

    /// Waits until a probe with this number or a later one is received on every channel.
    async fn are_back(&self, channels: &[String], number: u64) {
        let mut returned = self.returned.subscribe();
        let is_back = |newest: Option<&u64>| newest.is_some_and(|newest| *newest >= number);
        let are_back = |newest: &HashMap<String, u64>| {
            channels.iter().all(|channel| is_back(newest.get(channel)))
        };
        // The sender is in `self`.
        returned.wait_for(are_back).await.ok();
    }

    /// Probes all channels until the probes of one are lost twice in a row. A probe that cannot be
    /// published shows nothing about the subscription.
    pub(super) async fn run(&self, publisher: &impl PublishProbe, metrics: &Metrics) -> RedisError {
        let (mut number, mut lost) = (0, 0);
        while lost < 2 {
            if lost == 0 {
                sleep(INTERVAL).await;
            }
            number += 1;
            let (channels, probe) = (self.channels(), format!("{} {number}", self.id));
            if let Err(error) = publisher.publish(&channels, &probe).await {
                debug!(%error, "publishing a probe failed");
                metrics.probes.of(ProbeResult::Failed).inc();
                sleep(INTERVAL).await;
                continue;
            }
            let are_back = self.are_back(&channels, number - lost);
            let result = if timeout(RETURN_TIMEOUT, are_back).await.is_ok() {
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
    use prometheus::Registry;
    use tokio::time::Instant;

    use super::*;

    const CHANNELS: [&str; 3] = ["ws/probe0", "ws/probe1", "ws/probe4"];

    /// Returns probes to a session, those of the last channel until a number; fails to publish
    /// some.
    struct FakePublisher {
        probe: Probe,
        returns: u64,
        fails: Vec<u64>,
        published: Mutex<u64>,
    }

    impl PublishProbe for FakePublisher {
        async fn publish(&self, channels: &[String], probe: &str) -> RedisResult<()> {
            let mut published = self.published.lock().unwrap();
            *published += 1;
            if self.fails.contains(&published) {
                return Err((ErrorKind::Io, "connection refused").into());
            }
            let is_silent = |channel: &str| channel == CHANNELS[2] && *published > self.returns;
            for channel in channels.iter().filter(|channel| !is_silent(channel)) {
                self.probe.receive(channel, probe);
            }
            Ok(())
        }
    }

    fn publisher(returns: u64, fails: &[u64]) -> FakePublisher {
        let (probe, fails) = (Probe::new(), fails.to_vec());
        probe.set_channels(CHANNELS.map(str::to_owned).into());
        FakePublisher { probe, returns, fails, published: Mutex::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_whose_probes_are_not_received_is_detected_within_10_s() {
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

    #[tokio::test(start_paused = true)]
    async fn a_connection_to_another_server_than_the_subscriptions_is_detected() {
        let same = publisher(1, &[]);
        assert!(same.probe.verify(&same).await.is_ok());
        let other = publisher(0, &[]);
        let start = Instant::now();
        assert!(other.probe.verify(&other).await.is_err());
        assert_eq!(start.elapsed(), RETURN_TIMEOUT);
        let refused = publisher(0, &[1]);
        assert!(refused.probe.verify(&refused).await.is_ok());
    }

    #[test]
    fn probes_of_other_sessions_are_ignored() {
        let probe = Probe::new();
        for other in ["", "1", "x 1", &format!("{} 1", Uuid::nil()), &format!("{} x", probe.id)] {
            probe.receive("ws/probe", other);
        }
        assert!(probe.returned.borrow().is_empty());
        for number in [3, 2] {
            probe.receive("ws/probe", &format!("{} {number}", probe.id));
        }
        assert_eq!(*probe.returned.borrow(), HashMap::from([("ws/probe".into(), 3)]));
    }
}
