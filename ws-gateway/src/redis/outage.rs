//! An outage of Redis, from the end of a session until another has closed every gap: its duration,
//! and which of its errors were logged.

use std::fmt;

use shared::time::millis;
use tokio::time::Instant;
use tracing::info;

use crate::metrics::Metrics;

/// The time without a session that has closed every gap.
#[derive(Debug)]
pub(super) struct Outage {
    /// When the last session ended; none before the first.
    since: Option<Instant>,
    logged_failure: bool,
    logged_refusal: bool,
}

impl Outage {
    pub(super) fn at_start() -> Self {
        Self { since: None, logged_failure: false, logged_refusal: false }
    }

    pub(super) fn begin() -> Self {
        Self { since: Some(Instant::now()), ..Self::at_start() }
    }

    /// Returns whether this is the first failure, or the first refusal, of the outage.
    pub(super) fn first_seen(&mut self, is_refusal: bool) -> bool {
        let logged = if is_refusal { &mut self.logged_refusal } else { &mut self.logged_failure };
        !std::mem::replace(logged, true)
    }

    /// Observes and logs the end of the outage; `repairing_since` is when the session began, in which
    /// every gap is closed now, and `redis` its connection.
    pub(super) fn end(&self, repairing_since: Instant, metrics: &Metrics, redis: &impl fmt::Debug) {
        let Some(lost_at) = self.since else {
            info!(?redis, "connected to Redis");
            return;
        };
        let (outage, repair) = (lost_at.elapsed(), repairing_since.elapsed());
        metrics.outage_duration.observe(outage.as_secs_f64());
        metrics.repair_duration.observe(repair.as_secs_f64());
        let (outage_ms, repair_ms) = (millis(outage), millis(repair));
        info!(outage_ms, repair_ms, ?redis, "reconnected to Redis, all gaps closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_is_logged_once_per_outage() {
        let mut outage = Outage::begin();
        assert!(outage.first_seen(false) && !outage.first_seen(false));
        assert!(outage.first_seen(true) && !outage.first_seen(true));
        assert!(Outage::begin().first_seen(true));
    }
}
