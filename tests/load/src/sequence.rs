//! Sequence numbers of the events that one socket has received: finds losses, duplicates and
//! reordering. The events of a user are numbered from 0.

use std::collections::BTreeSet;

/// Received sequence numbers of one socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct SequenceTracker {
    /// One more than the highest number received.
    next: u64,
    /// Numbers below `next` that have not been received.
    gaps: BTreeSet<u64>,
    /// Events received more than once.
    pub(crate) duplicates: u64,
    /// Events received after later ones.
    pub(crate) out_of_order: u64,
}

impl SequenceTracker {
    /// Records an event.
    pub(crate) fn record(&mut self, number: u64) {
        if number == self.next {
            self.next += 1;
        } else if number > self.next {
            self.gaps.extend(self.next..number);
            self.next = number + 1;
        } else if self.gaps.remove(&number) {
            self.out_of_order += 1;
        } else {
            self.duplicates += 1;
        }
    }

    /// Returns how many of the first `expected` events have not been received.
    pub(crate) fn missing(&self, expected: u64) -> u64 {
        let gaps = self.gaps.range(..expected).count() as u64;
        gaps + expected.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(numbers: &[u64]) -> SequenceTracker {
        let mut tracker = SequenceTracker::default();
        for number in numbers {
            tracker.record(*number);
        }
        tracker
    }

    #[test]
    fn a_gap_in_the_middle_or_at_the_end_is_missing() {
        assert_eq!(tracker(&[0, 1, 2]).missing(3), 0);
        assert_eq!(tracker(&[0, 2]).missing(3), 1);
        assert_eq!(tracker(&[0, 1]).missing(4), 2);
        assert_eq!(tracker(&[]).missing(2), 2);
    }

    #[test]
    fn duplicates_and_reordering_are_counted_separately() {
        let twice = tracker(&[0, 1, 1, 0]);
        assert_eq!((twice.duplicates, twice.out_of_order, twice.missing(2)), (2, 0, 0));
        let late = tracker(&[0, 2, 1]);
        assert_eq!((late.duplicates, late.out_of_order, late.missing(3)), (0, 1, 0));
    }
}
