//! Times and counts, and how they travel between processes.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest time that is told apart, in microseconds; what takes longer counts as this.
const LONGEST: u64 = 600_000_000;

/// Times in microseconds, each kept to three digits.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

/// The figures that are told of some times, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of them are below.
    pub p50_us: u64,
    /// 99 of 100 are below.
    pub p99_us: u64,
    /// 999 of 1,000 are below.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// How many there are.
    pub count: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are possible"))
    }
}

impl Times {
    /// Notes a time in nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record((nanos / 1_000).clamp(1, LONGEST));
    }

    /// Adds those of another.
    ///
    /// # Panics
    /// Never: all have the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// What is told of them.
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

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.iter_recorded();
        let pairs = pairs.map(|step| (step.value_iterated_to(), step.count_at_value()));
        serializer.collect_seq(pairs)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut times = Self::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            times.0.saturating_record_n(value, count);
        }
        Ok(times)
    }
}

/// What the sockets of a process have seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Notifications of this run that were read, by sockets that read.
    pub received: u64,
    /// Texts of others.
    pub foreign: u64,
    /// Events that a socket should have got and has not.
    pub missing: u64,
    /// Events that a socket got again.
    pub duplicates: u64,
    /// Events that came to a socket after later ones of the same user.
    pub out_of_order: u64,
    /// Connections that ended although their client had not asked for it.
    pub disconnects: u64,
    /// Attempts to connect that failed.
    pub refused: u64,
    /// From when an event was meant to be sent until a socket had read it.
    pub latency: Times,
    /// From the first packet of a connection until its subscription stood.
    pub connects: Times,
    /// From losing a connection until the next one was resumed.
    pub returns: Times,
    /// Processor time of the process.
    pub cpu: Duration,
}

impl Tally {
    /// Adds those of another process.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.foreign += other.foreign;
        self.missing += other.missing;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.disconnects += other.disconnects;
        self.refused += other.refused;
        self.latency.add(&other.latency);
        self.connects.add(&other.connects);
        self.returns.add(&other.returns);
        self.cpu += other.cpu;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_pass_between_processes_with_their_percentiles() {
        let mut tally = Tally::default();
        for millis in 1..=1_000 {
            tally.latency.record(millis * 1_000_000);
        }
        let text = serde_json::to_string(&tally).unwrap();
        let mut sum: Tally = serde_json::from_str(&text).unwrap();
        sum.add(&tally);
        let (one, both) = (tally.latency.percentiles(), sum.latency.percentiles());
        assert_eq!(both.count, 2 * one.count);
        assert_eq!((both.p50_us, both.p99_us), (one.p50_us, one.p99_us));
        assert!((989_000..=991_000).contains(&one.p99_us), "{one:?}");
        assert!((999_000..=1_001_000).contains(&both.max_us), "{both:?}");
    }
}
