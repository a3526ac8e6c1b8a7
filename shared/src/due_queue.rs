//! A queue of what is due at a time of its own, for attempts that are repeated after a back-off.

use std::collections::BTreeMap;

use tokio::time::{Instant, sleep_until};

/// Items in the order in which they are due; those of the same time in the order of insertion.
#[derive(Debug)]
pub struct DueQueue<T> {
    items: BTreeMap<Place, T>,
    inserted: u64,
}

/// The place of an item: when it is due, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(Instant, u64);

impl<T> Default for DueQueue<T> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), inserted: 0 }
    }
}

impl<T> DueQueue<T> {
    /// Adds an item. Returns its place.
    pub fn insert(&mut self, due: Instant, item: T) -> Place {
        self.inserted += 1;
        let place = Place(due, self.inserted);
        self.items.insert(place, item);
        place
    }

    /// Removes the item at a place.
    pub fn remove(&mut self, place: Place) -> Option<T> {
        self.items.remove(&place)
    }

    /// Removes the items for which `is_removed` returns true.
    pub fn extract_if(&mut self, mut is_removed: impl FnMut(&T) -> bool) -> Vec<T> {
        self.items.extract_if(.., |_, item| is_removed(item)).map(|(_, item)| item).collect()
    }

    /// Takes at most `max` items that are due.
    pub fn take_due(&mut self, max: usize, now: Instant) -> Vec<T> {
        let mut due = Vec::new();
        while due.len() < max
            && let Some(entry) = self.items.first_entry()
            && entry.key().0 <= now
        {
            due.push(entry.remove());
        }
        due
    }

    /// Returns when the first item is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.items.first_key_value().map(|(Place(due, _), _)| *due)
    }

    /// Waits until an item is due; for ever if the queue is empty.
    pub async fn due(&self) {
        match self.next_due() {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Returns all items, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }

    /// Returns the number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn items_are_taken_when_they_are_due_and_in_order() {
        let mut queue = DueQueue::default();
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        queue.insert(later, "third");
        queue.insert(now, "first");
        let removed = queue.insert(now, "removed");
        queue.insert(now, "second");
        assert_eq!(queue.remove(removed), Some("removed"));
        assert_eq!(queue.take_due(1, now), ["first"]);
        assert_eq!(queue.take_due(9, now), ["second"]);
        assert_eq!((queue.next_due(), queue.len()), (Some(later), 1));
        queue.due().await;
        assert_eq!(queue.take_due(9, Instant::now()), ["third"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn items_are_extracted_whenever_they_are_due() {
        let mut queue = DueQueue::default();
        let now = Instant::now();
        for number in 1..=4 {
            queue.insert(now + Duration::from_secs(number), number);
        }
        assert_eq!(queue.extract_if(|number| number % 2 == 0), [2, 4]);
        assert!(queue.iter().eq(&[1, 3]));
    }
}
