//! Moves connections from full gateways to empty ones: after a scale-up only new connections would
//! go to the new gateways. Each gateway publishes its number of connections; one that has far more
//! than the mean asks its oldest clients to reconnect, a few at a time.

use std::{
    collections::HashMap,
    convert::Infallible,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use shared::keys::Keys;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::stream_reader::StreamReader;
use crate::{hub::Hub, metrics::Metrics};

/// How often a gateway publishes its number of connections and compares it with the mean.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a published number counts: two may be lost.
const LIFETIME: Duration = Duration::from_secs(15);

/// How often connections are closed within an interval.
const STEP: Duration = Duration::from_millis(250);

/// The multiple of the mean above which a gateway begins to close connections.
const BEGIN_ABOVE: f64 = 1.2;

/// The multiple of the mean at which it stops: below the other, so that it does not begin again at
/// once.
const STOP_AT: f64 = 1.1;

/// When and how fast connections are moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RebalanceSettings {
    /// The share of its connections that a gateway closes in a second, in percent; 0: none.
    pub(crate) percent_per_second: f64,
    /// The number of connections below which it closes none.
    pub(crate) min_connections: u64,
}

/// The published numbers of connections. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct GatewayCounts(Arc<Mutex<HashMap<String, (u64, Instant)>>>);

/// A number of connections as it is published.
#[derive(Debug, Serialize, Deserialize)]
struct Count {
    gateway: String,
    connections: u64,
    /// Whether it shuts down, so that it is no place for others' connections.
    #[serde(default)]
    is_leaving: bool,
}

/// What moves the connections of a gateway.
#[derive(Debug)]
pub(super) struct Balancer<'a> {
    pub(super) name: &'a str,
    pub(super) hub: &'a Hub,
    pub(super) metrics: &'a Metrics,
    pub(super) keys: &'a Keys,
    pub(super) settings: RebalanceSettings,
    pub(super) counts: &'a GatewayCounts,
    pub(super) draining: &'a CancellationToken,
}

/// The comparisons with the mean, once per interval.
#[derive(Debug, Default)]
struct Comparison {
    /// Whether connections are being closed.
    is_moving: bool,
    /// The number of connections an interval ago. Those that were opened since do not count: when
    /// many clients connect at once, the numbers that make the mean are up to an interval old.
    last: u64,
}

impl GatewayCounts {
    /// Takes over a published number. Returns none if it is unreadable.
    pub(super) fn receive(&self, text: &str) -> Option<()> {
        let Count { gateway, connections, is_leaving } = serde_json::from_str(text).ok()?;
        if is_leaving {
            self.current().remove(&gateway);
        } else {
            self.current().insert(gateway, (connections, Instant::now()));
        }
        Some(())
    }

    /// Returns the mean number of connections; none if no number is known.
    fn mean(&self) -> Option<f64> {
        let counts = self.current();
        let sum: f64 = counts.values().map(|(connections, _)| as_f64(*connections)).sum();
        (!counts.is_empty()).then(|| sum / as_f64(counts.len() as u64))
    }

    /// Returns the numbers that were received lately.
    fn current(&self) -> MutexGuard<'_, HashMap<String, (u64, Instant)>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|_, (_, received_at)| received_at.elapsed() < LIFETIME);
        counts
    }
}

impl Balancer<'_> {
    /// Publishes the number of connections, and closes connections while there are too many.
    pub(super) async fn run(&self, readers: watch::Receiver<Option<StreamReader>>) -> Infallible {
        if self.settings.percent_per_second <= 0.0 {
            std::future::pending::<()>().await;
        }
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut comparison = Comparison::default();
        while self.draining.run_until_cancelled(ticks.tick()).await.is_some() {
            let own = self.metrics.open_connections();
            self.publish(&readers, own, false).await;
            let Some(mean) = self.counts.mean() else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "a number of connections")]
            self.metrics.mean_connections.set(mean.round() as i64);
            let was_moving = comparison.is_moving;
            let excess = comparison.excess(own, mean, self.settings);
            let is_moving = comparison.is_moving;
            if is_moving != was_moving {
                info!(connections = own, mean, is_moving, "rebalancing of connections changed");
            }
            self.draining.run_until_cancelled(self.close_oldest(excess, own)).await;
        }
        self.publish(&readers, self.metrics.open_connections(), true).await;
        std::future::pending().await
    }

    /// Publishes the number of connections while Redis is connected.
    async fn publish(
        &self,
        readers: &watch::Receiver<Option<StreamReader>>,
        connections: u64,
        is_leaving: bool,
    ) {
        let Some(reader) = readers.borrow().clone() else { return };
        let count = Count { gateway: self.name.to_owned(), connections, is_leaving };
        let text = serde_json::to_string(&count).expect("a count serialises");
        if let Err(error) = reader.publish(self.keys.count_channel(), text).await {
            debug!(%error, "publishing the number of connections failed");
        }
    }

    /// Closes at most `excess` connections, spread over the interval at the permitted rate.
    async fn close_oldest(&self, excess: usize, own: u64) {
        let rate = as_f64(own) * self.settings.percent_per_second / 100.0;
        let count = at_most(excess, rate * INTERVAL.as_secs_f64());
        if count == 0 {
            return;
        }
        let oldest = self.hub.oldest(count);
        // The last step is left for the next tick.
        let steps = usize::try_from(INTERVAL.as_millis() / STEP.as_millis() - 1).unwrap_or(1);
        for part in oldest.chunks(count.div_ceil(steps)) {
            for connection in part {
                connection.close_to_rebalance();
            }
            tokio::time::sleep(STEP).await;
        }
    }
}

impl Comparison {
    /// Returns how many connections this gateway has too many.
    fn excess(&mut self, own: u64, mean: f64, settings: RebalanceSettings) -> usize {
        let own = own.min(mem::replace(&mut self.last, own));
        let limit = mean * if self.is_moving { STOP_AT } else { BEGIN_ABOVE };
        self.is_moving = own >= settings.min_connections && as_f64(own) > limit;
        if !self.is_moving {
            return 0;
        }
        at_most(usize::MAX, (as_f64(own) - mean * STOP_AT).ceil())
    }
}

/// Returns the smaller of both; at least one of a fraction.
fn at_most(limit: usize, number: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is bounded")]
    let number = number.ceil().clamp(0.0, 1e9) as usize;
    limit.min(number)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer connections than 2^52")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SETTINGS: RebalanceSettings =
        RebalanceSettings { percent_per_second: 0.5, min_connections: 100 };

    #[test]
    fn a_gateway_begins_above_1_2_times_the_mean_and_stops_at_1_1_times() {
        let excess =
            |own, mean, is_moving| Comparison { is_moving, last: own }.excess(own, mean, SETTINGS);
        assert_eq!(excess(1_200, 1_000.0, false), 0);
        assert_eq!(excess(1_201, 1_000.0, false), 101);
        assert_eq!(excess(1_150, 1_000.0, true), 50);
        assert_eq!(excess(1_100, 1_000.0, true), 0);
        assert_eq!(excess(99, 10.0, false), 0, "below the minimum");
    }

    #[test]
    fn connections_that_are_newer_than_the_mean_are_not_closed() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.excess(100, 0.0, SETTINGS), 0);
        assert_eq!(comparison.excess(1_000, 100.0, SETTINGS), 0, "all gateways gain connections");
        assert_eq!(comparison.excess(1_000, 1_000.0, SETTINGS), 0);
        assert_eq!(comparison.excess(1_000, 500.0, SETTINGS), 450, "two are new and empty");
    }

    #[tokio::test(start_paused = true)]
    async fn the_mean_is_that_of_the_gateways_that_have_published_lately() {
        let counts = GatewayCounts::default();
        assert_eq!(counts.mean(), None);
        let receive = |gateway: &str, connections: u64| {
            counts.receive(&format!(r#"{{"gateway":"{gateway}","connections":{connections}}}"#))
        };
        receive("a", 100).unwrap();
        advance(Duration::from_secs(10)).await;
        receive("b", 10).unwrap();
        receive("b", 20).unwrap();
        assert_eq!(counts.mean(), Some(60.0));
        advance(Duration::from_secs(6)).await;
        assert_eq!(counts.mean(), Some(20.0), "the first gateway has ended");
        assert_eq!(counts.receive("{}"), None);
        receive("c", u64::MAX).unwrap();
        receive("d", u64::MAX).unwrap();
        assert!(counts.mean().unwrap() > 1e18, "far more than there can be");
        for leaving in ["c", "d"] {
            let count = Count { gateway: leaving.to_owned(), connections: 9, is_leaving: true };
            counts.receive(&serde_json::to_string(&count).unwrap()).unwrap();
        }
        assert_eq!(counts.mean(), Some(20.0));
    }
}
