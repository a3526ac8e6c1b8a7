//! A token bucket: limits how many handshakes a second are accepted.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

/// Holds tokens for one second and refills steadily.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: f64,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    tokens: f64,
    refilled_at: Instant,
}

impl TokenBucket {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let per_second = f64::from(per_second.get());
        let level = Level { tokens: per_second, refilled_at: Instant::now() };
        Self { per_second, level: Mutex::new(level) }
    }

    /// Takes a token. Returns `false` if none is left.
    pub(super) fn try_acquire(&self) -> bool {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let refill = now.duration_since(level.refilled_at).as_secs_f64() * self.per_second;
        level.tokens = (level.tokens + refill).min(self.per_second);
        level.refilled_at = now;
        let is_available = level.tokens >= 1.0;
        if is_available {
            level.tokens -= 1.0;
        }
        is_available
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_not_exceeded_and_a_second_of_tokens_is_saved_up() {
        let bucket = TokenBucket::new(NonZeroU32::new(3).unwrap());
        let acquired = || (0..5).filter(|_| bucket.try_acquire()).count();
        assert_eq!(acquired(), 3);
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(acquired(), 1);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(acquired(), 3);
    }
}
