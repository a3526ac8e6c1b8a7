//! Time from the end of a fault until events that were sent before arrive.

use std::fmt;

use load::stats::{Histogram, Percentiles};
use tokio::time::Instant;

/// Recovery latency of the events that were outstanding when a fault ended.
#[derive(Clone, Debug, Default)]
pub struct RecoveryLatency {
    since_fault_end: Histogram,
    /// The same from the broker's acknowledgement, where that came later: an event that is still in
    /// the producer's queue cannot be delivered.
    since_acknowledged: Histogram,
}

impl RecoveryLatency {
    /// Records an event that arrived after the fault. It may arrive before its producer receives
    /// the broker's acknowledgement.
    pub(super) fn record(
        &mut self,
        fault_ended: Instant,
        acknowledged: Option<Instant>,
        delivered: Instant,
    ) {
        let acknowledged = acknowledged.unwrap_or(delivered).max(fault_ended);
        for (histogram, since) in
            [(&mut self.since_fault_end, fault_ended), (&mut self.since_acknowledged, acknowledged)]
        {
            let latency = delivered.saturating_duration_since(since);
            histogram.record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Adds the latencies of another fault.
    pub fn add(&mut self, other: &Self) {
        self.since_fault_end.add(&other.since_fault_end);
        self.since_acknowledged.add(&other.since_acknowledged);
    }
}

impl fmt::Display for RecoveryLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_end = self.since_fault_end.percentiles();
        let since_acknowledged = describe(self.since_acknowledged.percentiles());
        write!(f, "{} late events: {} after the fault", since_end.count, describe(since_end))?;
        if since_acknowledged != describe(since_end) {
            write!(f, "; {since_acknowledged} after the broker's acknowledgement")?;
        }
        Ok(())
    }
}

fn describe(Percentiles { p50_us, p99_us, max_us, .. }: Percentiles) -> String {
    let [p50, p99, max] = [p50_us, p99_us, max_us].map(|micros| micros / 1_000);
    format!("p50 {p50} ms, p99 {p99} ms, max {max} ms")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn time_in_the_producers_queue_is_reported_separately() {
        let (mut latency, ended) = (RecoveryLatency::default(), Instant::now());
        let delivered = ended + after(900);
        latency.record(ended, Some(ended - after(5)), ended + after(300));
        latency.record(ended, Some(ended + after(880)), delivered);
        latency.record(ended, Some(delivered + after(1)), delivered);
        latency.record(ended, None, delivered);
        assert_eq!(
            latency.to_string(),
            "4 late events: p50 900 ms, p99 900 ms, max 900 ms after the fault; \
             p50 0 ms, p99 300 ms, max 300 ms after the broker's acknowledgement"
        );
    }

    #[test]
    fn equal_latencies_are_reported_once() {
        let (mut latency, ended) = (RecoveryLatency::default(), Instant::now());
        latency.record(ended, Some(ended), ended + after(30));
        let expected = "1 late events: p50 30 ms, p99 30 ms, max 30 ms after the fault";
        assert_eq!(latency.to_string(), expected);
    }
}
