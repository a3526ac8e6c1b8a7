//! When a session loads the stored revocations: before it serves any user, after a slot has moved,
//! at intervals as a published one may have been lost, and soon again if Redis does not return
//! them.

use std::{sync::Arc, time::Duration};

use redis::RedisResult;
use shared::backoff::Backoff;
use tokio::time::{Instant, sleep_until};

use super::{
    super::{backend::Backend, revocations::KnownRevocations},
    Session, disconnected,
};

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

    fn record(&mut self, known: KnownRevocations) {
        let delay = if known == KnownRevocations::Current {
            self.backoff.reset();
            INTERVAL
        } else {
            self.backoff.next_delay()
        };
        self.due = Instant::now() + delay;
    }
}

impl<B: Backend> Session<B> {
    /// Loads the revocations. If Redis does not return them, those of an earlier load stay in use.
    pub(super) async fn load_revocations(&mut self) -> RedisResult<KnownRevocations> {
        let known = self.backend.load_revocations().await?;
        self.load_schedule.record(known);
        Ok(known)
    }

    /// Loads the revocations, and waits until any are known.
    pub(super) async fn wait_for_revocations(&mut self) -> RedisResult<()> {
        let lost = Arc::clone(&self.lost);
        while self.load_revocations().await? == KnownRevocations::None {
            tokio::select! {
                () = lost.notified() => return Err(disconnected()),
                () = self.load_schedule.due() => {}
            }
            self.check().await?;
        }
        Ok(())
    }
}
