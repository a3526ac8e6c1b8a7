//! How long Redis was away, and how long it took to close the gaps.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use crate::metrics::Metrics;

/// The time without Redis.
#[derive(Debug)]
pub(super) struct Outage {
    /// None before the first connection.
    since: Option<Instant>,
    told_failure: bool,
    told_refusal: bool,
}

impl Outage {
    pub(super) fn at_start() -> Self {
        Self { since: None, told_failure: false, told_refusal: false }
    }

    pub(super) fn begins() -> Self {
        Self { since: Some(Instant::now()), ..Self::at_start() }
    }

    /// Whether this is the first failure, or the first refusal, to be told of.
    pub(super) fn is_news(&mut self, is_refusal: bool) -> bool {
        let told = if is_refusal { &mut self.told_refusal } else { &mut self.told_failure };
        !std::mem::replace(told, true)
    }

    pub(super) fn redis_is_back(self) -> Repair {
        Repair { outage: self, since: Instant::now() }
    }
}

/// The time from having Redis back until every gap is closed.
#[derive(Debug)]
pub(super) struct Repair {
    outage: Outage,
    since: Instant,
}

impl Repair {
    /// `redis` is what it is connected to now.
    pub(super) fn done(self, metrics: &Metrics, redis: &impl std::fmt::Debug) {
        let Some(lost_at) = self.outage.since else {
            info!(?redis, "connected to Redis");
            return;
        };
        let (outage, repair) = (lost_at.elapsed(), self.since.elapsed());
        metrics.outage_duration.observe(outage.as_secs_f64());
        metrics.repair_duration.observe(repair.as_secs_f64());
        let (outage_ms, repair_ms) = (milliseconds(outage), milliseconds(repair));
        info!(outage_ms, repair_ms, ?redis, "Redis is back and every gap is closed");
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_is_told_once_an_outage() {
        let mut outage = Outage::begins();
        assert!(outage.is_news(false) && !outage.is_news(false));
        assert!(outage.is_news(true) && !outage.is_news(true));
        assert!(Outage::begins().is_news(true));
    }
}
