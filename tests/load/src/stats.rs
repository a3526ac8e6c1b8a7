//! Latency histograms and counters, serialized between processes.

use std::time::Duration;

use hdrhistogram::Histogram as HdrHistogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Highest value in microseconds; longer times are recorded as this one.
const MAX_US: u64 = 600_000_000;

/// Durations in microseconds with three significant digits.
#[derive(Clone, Debug)]
pub struct Histogram(HdrHistogram<u64>);

/// Percentiles of a [`Histogram`] in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
    /// The 99.9th percentile.
    pub p999_us: u64,
    /// The maximum.
    pub max_us: u64,
    /// The number of values.
    pub count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self(HdrHistogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are valid"))
    }
}

impl Histogram {
    /// Records a duration in nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record((nanos / 1_000).clamp(1, MAX_US));
    }

    /// Adds the values of another histogram.
    ///
    /// # Panics
    /// Never: all histograms have the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// Returns the percentiles.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Percentiles {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max(),
            count: self.0.len(),
        }
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let buckets = self.0.iter_recorded();
        let buckets = buckets.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()));
        serializer.collect_seq(buckets)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut histogram = Self::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            histogram.0.saturating_record_n(value, count);
        }
        Ok(histogram)
    }
}

/// What the sockets of a process have observed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientStats {
    /// Notifications of this run received by sockets that read.
    pub received: u64,
    /// Events that a socket should have received and has not.
    pub missing: u64,
    /// Events received more than once by a socket.
    pub duplicates: u64,
    /// Events that a socket received after later ones of the same user.
    pub out_of_order: u64,
    /// Connections that ended without their client disconnecting.
    pub disconnects: u64,
    /// Failed attempts to connect.
    pub refused: u64,
    /// Longest time between two notifications of a socket, in microseconds.
    pub longest_silence_us: u64,
    /// From an event's scheduled time until a socket has read its notification.
    pub latency: Histogram,
    /// From starting to connect until the subscription is confirmed.
    pub connects: Histogram,
    /// From losing a connection until the next one has resumed.
    pub reconnects: Histogram,
    /// Processor time of the process.
    pub cpu: Duration,
}

impl ClientStats {
    /// Adds the statistics of another process.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.missing += other.missing;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.disconnects += other.disconnects;
        self.refused += other.refused;
        self.longest_silence_us = self.longest_silence_us.max(other.longest_silence_us);
        self.latency.add(&other.latency);
        self.connects.add(&other.connects);
        self.reconnects.add(&other.reconnects);
        self.cpu += other.cpu;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_survive_serialization() {
        let mut stats = ClientStats::default();
        for millis in 1..=1_000 {
            stats.latency.record(millis * 1_000_000);
        }
        let text = serde_json::to_string(&stats).unwrap();
        let mut sum: ClientStats = serde_json::from_str(&text).unwrap();
        sum.add(&stats);
        let (one, both) = (stats.latency.percentiles(), sum.latency.percentiles());
        assert_eq!(both.count, 2 * one.count);
        assert_eq!((both.p50_us, both.p99_us), (one.p50_us, one.p99_us));
        assert!((989_000..=991_000).contains(&one.p99_us), "{one:?}");
        assert!((999_000..=1_001_000).contains(&both.max_us), "{both:?}");
    }
}
