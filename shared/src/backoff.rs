//! Exponential back-off with jitter, for every retry of both services.
//!
//! `backon` wraps the operation that is retried and offers one kind of jitter; the retries here are
//! loops that also react to shutdown and to other events, and only need the next delay.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// Delays of a server after `accept` failed. The usual reason, no free file descriptor, lasts
/// longer than microseconds, and a loop without a delay would take a whole core.
pub const ACCEPT: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));

/// Delays between attempts: each ceiling is twice the one before, up to a maximum, and
/// jitter keeps instances that failed together from retrying together. Cheap to copy, so that a
/// `const` can hold the policy.
///
/// ```
/// use std::time::Duration;
///
/// use shared::backoff::{Backoff, Jitter};
///
/// const POLICY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
///
/// let mut backoff = POLICY.with_jitter(Jitter::None);
/// let delays: Vec<u128> = (0..6).map(|_| backoff.next_delay().as_millis()).collect();
/// assert_eq!(delays, [50, 100, 200, 400, 800, 1000]);
///
/// backoff.reset();
/// assert_eq!(backoff.next_delay(), Duration::from_millis(50));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    jitter: Jitter,
    attempts: u32,
}

/// Which part of a delay is random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// None of it.
    None,
    /// The upper half: from half the ceiling to the ceiling.
    Equal,
    /// All of it: from zero to the ceiling.
    Full,
}

impl Backoff {
    /// Returns a back-off that doubles from `first` up to `max`, with equal jitter.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, jitter: Jitter::Equal, attempts: 0 }
    }

    /// Uses another kind of jitter.
    #[must_use]
    pub const fn with_jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// Returns the delay before the next attempt and counts the attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.next_delay_with(&mut rand::rng())
    }

    /// Does what [`Backoff::next_delay`] does with the given source of randomness; a seeded one
    /// makes the delays reproducible.
    fn next_delay_with(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling();
        self.attempts = self.attempts.saturating_add(1);
        match self.jitter {
            Jitter::None => ceiling,
            Jitter::Equal => ceiling.mul_f64(rng.random_range(0.5..=1.0)),
            Jitter::Full => ceiling.mul_f64(rng.random_range(0.0..=1.0)),
        }
    }

    /// Returns the longest that the next delay can be.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(self.attempts)).min(self.max)
    }

    /// Returns how many delays were handed out since the start or the last reset.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Starts again at the first delay; called after an attempt that succeeded.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    const FIRST: Duration = Duration::from_millis(10);
    const MAX: Duration = Duration::from_secs(2);

    fn delays(backoff: Backoff, seed: u64, count: usize) -> Vec<Duration> {
        let (mut backoff, mut rng) = (backoff, StdRng::seed_from_u64(seed));
        (0..count).map(|_| backoff.next_delay_with(&mut rng)).collect()
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum_and_never_overflows() {
        let mut backoff = Backoff::new(FIRST, MAX);
        let ceilings: Vec<u128> = (0..10)
            .map(|_| {
                let ceiling = backoff.ceiling().as_millis();
                backoff.next_delay();
                ceiling
            })
            .collect();
        assert_eq!(ceilings, [10, 20, 40, 80, 160, 320, 640, 1280, 2000, 2000]);
        for _ in 0..1000 {
            backoff.next_delay();
        }
        assert_eq!(backoff.ceiling(), MAX);
        assert_eq!(backoff.attempts(), 1010);
    }

    #[test]
    fn equal_jitter_stays_in_the_upper_half_and_full_jitter_uses_the_whole_range() {
        let fixed = Backoff::new(MAX, MAX);
        let equal = delays(fixed, 1, 1000);
        assert!(equal.iter().all(|delay| (MAX / 2..=MAX).contains(delay)));
        let full = delays(fixed.with_jitter(Jitter::Full), 1, 1000);
        assert!(full.iter().all(|delay| *delay <= MAX));
        assert!(full.iter().any(|delay| *delay < MAX / 10));
        assert!(full.iter().any(|delay| *delay > MAX * 9 / 10));
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let backoff = Backoff::new(FIRST, MAX);
        assert_eq!(delays(backoff, 7, 20), delays(backoff, 7, 20));
        assert_ne!(delays(backoff, 7, 20), delays(backoff, 8, 20));
    }
}
