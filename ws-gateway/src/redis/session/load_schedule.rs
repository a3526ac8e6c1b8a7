//! When a session loads the stored revocations next: at intervals, as a published one may have been
//! lost, and soon again if Redis does not return them.

use std::time::Duration;

use shared::backoff::Backoff;
use tokio::time::{Instant, sleep_until};

use super::super::revocations::KnownRevocations;

/// How often stored revocations are read again.
const INTERVAL: Duration = Duration::from_secs(30);

/// The delays between attempts while the slot of the revocations is moving or has no owner.
const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

/// When the revocations are loaded next.
#[derive(Debug)]
pub(super) struct LoadSchedule {
    due: Instant,
    backoff: Backoff,
}

impl Default for LoadSchedule {
    fn default() -> Self {
        Self { due: Instant::now(), backoff: RETRY }
    }
}

impl LoadSchedule {
    /// Waits until the next load is due.
    pub(super) async fn due(&self) {
        sleep_until(self.due).await;
    }

    /// Schedules the next load after one that found these.
    pub(super) fn record(&mut self, known: KnownRevocations) {
        let delay = if known == KnownRevocations::Current {
            self.backoff.reset();
            INTERVAL
        } else {
            self.backoff.next_delay()
        };
        self.due = Instant::now() + delay;
    }
}
