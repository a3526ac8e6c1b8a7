//! How late what was sent before the end of a fault arrived.

use std::fmt;

use tokio::time::Instant;

use load::tally::{Percentiles, Times};

/// How long it took, after a fault had ended, until events that were sent before arrived.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    since_end: Times,
    /// The same from the broker's acknowledgement, if that came later: an event that its producer
    /// still holds cannot arrive.
    since_acknowledged: Times,
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
        for (times, since) in
            [(&mut self.since_end, ended), (&mut self.since_acknowledged, acknowledged)]
        {
            let late = arrived.saturating_duration_since(since);
            times.record(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Adds what another fault took.
    pub fn add(&mut self, other: &Self) {
        self.since_end.add(&other.since_end);
        self.since_acknowledged.add(&other.since_acknowledged);
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = self.since_end.percentiles();
        let [since_end, since_acknowledged] =
            [late, self.since_acknowledged.percentiles()].map(told);
        write!(f, "{} late events, {since_end} after its end", late.count)?;
        if since_acknowledged != since_end {
            write!(f, "; {since_acknowledged} after the broker had them")?;
        }
        Ok(())
    }
}

fn told(Percentiles { p50_us, p99_us, max_us, .. }: Percentiles) -> String {
    let [median, p99, most] = [p50_us, p99_us, max_us].map(|micros| micros / 1_000);
    format!("p50 {median} ms, p99 {p99} ms, max {most} ms")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
