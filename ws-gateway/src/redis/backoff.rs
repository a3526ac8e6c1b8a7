//! How long to wait before Redis is tried again.

use std::time::Duration;

/// Short enough that a repair after a short outage still ends within a second.
const LONGEST: Duration = Duration::from_millis(500);

/// After a refusal that only a person can change. What was missed meanwhile is told soon after.
const REFUSED: Duration = Duration::from_secs(1);

/// Doubling waits with jitter, so that gateways do not come back in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    refused: bool,
}

impl Backoff {
    /// The next failure is the first again.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The next wait is a long one.
    pub(super) fn slow_down(&mut self) {
        self.refused = true;
    }

    /// Waits; longer each time.
    pub(super) async fn wait(&mut self) {
        let longest = self.longest();
        self.failures = self.failures.saturating_add(1);
        self.refused = false;
        tokio::time::sleep(longest.mul_f64(rand::random_range(0.5..=1.0))).await;
    }

    fn longest(&self) -> Duration {
        if self.refused {
            return REFUSED;
        }
        Duration::from_millis(10).saturating_mul(1 << self.failures.min(10)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_up_to_a_limit_and_start_anew() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.longest(), Duration::from_millis(10));
        for _ in 0..100 {
            backoff.wait().await;
        }
        assert_eq!(backoff.longest(), LONGEST);
        backoff.slow_down();
        assert_eq!(backoff.longest(), REFUSED);
        backoff.wait().await;
        assert_eq!(backoff.longest(), LONGEST);
        backoff.reset();
        assert_eq!(backoff.longest(), Duration::from_millis(10));
    }
}
