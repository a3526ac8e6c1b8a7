//! How late what was sent before the end of a fault arrived.

use std::{fmt, time::Duration};

use tokio::time::Instant;

/// How long it took, after a fault had ended, until events that were sent before arrived.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    since_end: Vec<Duration>,
    /// The same from the broker's acknowledgement, if that came later: an event that its producer
    /// still holds cannot arrive.
    since_acknowledged: Vec<Duration>,
}

impl Repair {
    /// Adds an event that arrived after the end of the fault. It may do so before its producer
    /// hears that the broker has it.
    pub(super) fn arrival(
        &mut self,
        ended: Instant,
        acknowledged: Option<Instant>,
        arrived: Instant,
    ) {
        let acknowledged = acknowledged.unwrap_or(arrived).max(ended);
        self.since_end.push(arrived - ended);
        self.since_acknowledged.push(arrived.saturating_duration_since(acknowledged));
    }

    /// Adds what another fault took.
    pub fn add(&mut self, other: Self) {
        self.since_end.extend(other.since_end);
        self.since_acknowledged.extend(other.since_acknowledged);
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.since_end.len();
        let since_end = Percentiles::of(&self.since_end);
        write!(f, "{events} late events, {since_end} after its end")?;
        let since_acknowledged = Percentiles::of(&self.since_acknowledged);
        if since_acknowledged != since_end {
            write!(f, "; {since_acknowledged} after the broker had them")?;
        }
        Ok(())
    }
}

/// In milliseconds.
#[derive(Debug, PartialEq, Eq)]
struct Percentiles {
    median: u128,
    p99: u128,
    most: u128,
}

impl Percentiles {
    fn of(delays: &[Duration]) -> Self {
        let mut delays = delays.to_vec();
        delays.sort_unstable();
        let [median, p99, most] = [50, 99, 100].map(|percent| {
            let at = (delays.len() * percent).div_ceil(100);
            delays.get(at.saturating_sub(1)).map_or(0, Duration::as_millis)
        });
        Self { median, p99, most }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, p99, most } = self;
        write!(f, "p50 {median} ms, p99 {p99} ms, max {most} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn time_in_which_the_producer_holds_an_event_is_told_apart() {
        let (mut repair, ended) = (Repair::default(), Instant::now());
        let arrived = ended + after(900);
        repair.arrival(ended, Some(ended - after(5)), ended + after(300));
        repair.arrival(ended, Some(ended + after(880)), arrived);
        repair.arrival(ended, Some(arrived + after(1)), arrived);
        repair.arrival(ended, None, arrived);
        assert_eq!(
            repair.to_string(),
            "4 late events, p50 900 ms, p99 900 ms, max 900 ms after its end; \
             p50 0 ms, p99 300 ms, max 300 ms after the broker had them"
        );
    }

    #[test]
    fn an_event_that_the_broker_had_before_is_told_once() {
        let (mut repair, ended) = (Repair::default(), Instant::now());
        repair.arrival(ended, Some(ended), ended + after(30));
        let told = "1 late events, p50 30 ms, p99 30 ms, max 30 ms after its end";
        assert_eq!(repair.to_string(), told);
    }
}
