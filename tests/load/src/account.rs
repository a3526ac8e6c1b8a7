//! What one socket has received of its user's events, which are numbered from 0.

use std::collections::BTreeSet;

/// The books of one socket.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The lowest number that has not been seen and is above all that were.
    next: u64,
    /// Numbers below it that have not come.
    open: BTreeSet<u64>,
    /// Events that came again.
    pub duplicates: u64,
    /// Events that came after later ones.
    pub out_of_order: u64,
}

impl Account {
    /// Notes an event.
    pub fn note(&mut self, number: u64) {
        if number == self.next {
            self.next += 1;
        } else if number > self.next {
            self.open.extend(self.next..number);
            self.next = number + 1;
        } else if self.open.remove(&number) {
            self.out_of_order += 1;
        } else {
            self.duplicates += 1;
        }
    }

    /// How many have not come of the first `expected`.
    #[must_use]
    pub fn missing(&self, expected: u64) -> u64 {
        let open = self.open.range(..expected).count() as u64;
        open + expected.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(numbers: &[u64]) -> Account {
        let mut account = Account::default();
        for number in numbers {
            account.note(*number);
        }
        account
    }

    #[test]
    fn a_loss_in_the_middle_or_at_the_end_is_missing() {
        assert_eq!(account(&[0, 1, 2]).missing(3), 0);
        assert_eq!(account(&[0, 2]).missing(3), 1);
        assert_eq!(account(&[0, 1]).missing(4), 2);
        assert_eq!(account(&[]).missing(2), 2);
    }

    #[test]
    fn what_comes_twice_or_late_is_told_apart() {
        let twice = account(&[0, 1, 1, 0]);
        assert_eq!((twice.duplicates, twice.out_of_order, twice.missing(2)), (2, 0, 0));
        let late = account(&[0, 2, 1]);
        assert_eq!((late.duplicates, late.out_of_order, late.missing(3)), (0, 1, 0));
    }
}
