//! How many handshakes a second are let in.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

/// A bucket that holds a second's worth and fills steadily.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    filled_at: Instant,
}

impl TokenBucket {
    pub(super) fn per_second(limit: NonZeroU32) -> Self {
        let per_second = f64::from(limit.get());
        Self {
            per_second,
            bucket: Mutex::new(Bucket { left: per_second, filled_at: Instant::now() }),
        }
    }

    /// Whether one more is within the limit.
    pub(super) fn try_acquire(&self) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.duration_since(bucket.filled_at).as_secs_f64() * self.per_second;
        bucket.left = (bucket.left + gained).min(self.per_second);
        bucket.filled_at = now;
        let admits = bucket.left >= 1.0;
        if admits {
            bucket.left -= 1.0;
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_seconds_worth_is_admitted_and_no_more() {
        let rate = TokenBucket::per_second(NonZeroU32::new(3).unwrap());
        assert_eq!((0..5).filter(|_| rate.try_acquire()).count(), 3);
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!((0..5).filter(|_| rate.try_acquire()).count(), 1);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!((0..5).filter(|_| rate.try_acquire()).count(), 3);
    }
}
