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
    told: bool,
}

impl Outage {
    pub(super) fn at_start() -> Self {
        Self { since: None, told: false }
    }

    pub(super) fn begins() -> Self {
        Self { since: Some(Instant::now()), told: false }
    }

    /// Whether this is the first failure to be told of.
    pub(super) fn is_news(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
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
    pub(super) fn done(self, metrics: &Metrics) {
        let Some(lost_at) = self.outage.since else {
            info!("connected to Redis");
            return;
        };
        let (outage, repair) = (lost_at.elapsed(), self.since.elapsed());
        metrics.outage_duration.observe(outage.as_secs_f64());
        metrics.repair_duration.observe(repair.as_secs_f64());
        let (outage_ms, repair_ms) = (milliseconds(outage), milliseconds(repair));
        info!(outage_ms, repair_ms, "Redis is back and every gap is closed");
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
