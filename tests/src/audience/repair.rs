//! How late what was sent before the end of a fault arrived.

use std::{fmt, time::Duration};

/// How long it took, after a fault had ended, until events that were sent before arrived.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    pub(super) delays: Vec<Duration>,
}

impl Repair {
    /// Adds what another fault took.
    pub fn add(&mut self, other: Self) {
        self.delays.extend(other.delays);
        self.delays.sort_unstable();
    }

    fn percentile(&self, percent: usize) -> u128 {
        let at = (self.delays.len() * percent).div_ceil(100);
        self.delays.get(at.saturating_sub(1)).map_or(0, Duration::as_millis)
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, most] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "{} late events, p50 {median} ms, p99 {p99} ms, ", self.delays.len())?;
        write!(f, "max {most} ms after its end")
    }
}
