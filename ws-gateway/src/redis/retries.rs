//! Users without a position, each to be tried again after a back-off of its own.

use std::time::Duration;

use shared::{backoff::Backoff, due_queue::DueQueue};
use tokio::time::Instant;

use crate::hub::Subscription;

/// A user whose keys are unreadable often stays so: the delays grow to a minute.
const POLICY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// The users to try again, by the time of the next attempt.
#[derive(Debug, Default)]
pub(super) struct Retries(DueQueue<Retry>);

/// A user and the delays between its attempts.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) subscription: Subscription,
    backoff: Backoff,
}

impl Retry {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self { subscription, backoff: POLICY }
    }
}

impl Retries {
    /// Schedules the next attempt for a user.
    pub(super) fn schedule(&mut self, mut retry: Retry) {
        let at = Instant::now() + retry.backoff.next_delay();
        self.0.insert(at, retry);
    }

    /// Makes every attempt due now, because its reason may be gone. The delays do not start anew.
    pub(super) fn wake(&mut self) {
        let now = Instant::now();
        for retry in self.0.extract_if(|_| true) {
            self.0.insert(now, retry);
        }
    }

    /// Waits until an attempt is due.
    pub(super) async fn due(&self) {
        self.0.due().await;
    }

    /// Takes at most `limit` users whose attempt is due.
    pub(super) fn take_due(&mut self, limit: usize) -> Vec<Retry> {
        self.0.take_due(limit, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use shared::user::UserId;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_user_is_due_after_growing_delays_of_its_own() {
        let mut retries = Retries::default();
        let user = |generation| Subscription { user: UserId::new("u").unwrap(), generation };
        retries.schedule(Retry::new(user(1)));
        retries.schedule(Retry::new(user(2)));
        assert!(retries.take_due(9).is_empty());
        let mut delays = Vec::new();
        for _ in 0..20 {
            let before = Instant::now();
            retries.due().await;
            let retry = retries.take_due(1).remove(0);
            if retry.subscription.generation == 1 {
                delays.push(before.elapsed());
                retries.schedule(retry);
            }
        }
        assert!(delays.iter().all(|delay| *delay <= POLICY.ceiling() * 60), "{delays:?}");
        assert!(delays.last().is_some_and(|last| *last >= Duration::from_secs(30)));
        assert!(retries.take_due(9).is_empty());
    }
}
