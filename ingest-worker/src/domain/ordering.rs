//! Order between events: those of one user are published in the order in which they were read, and
//! so are those of one batch or class while its owner is unknown. Everything else is independent.

use std::collections::{BTreeSet, HashMap, HashSet};

use shared::user::UserId;

use super::recipients::{OwnedEntity, RecipientHints};

/// An id whose events have to stay in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OrderingKey {
    /// The recipient, named or resolved.
    User(UserId),
    /// The batch or class that an event is about.
    Entity(OwnedEntity),
}

/// Returns the keys of an event whose recipient, if known, is `user`.
pub(super) fn ordering_keys(hints: &RecipientHints, user: Option<&UserId>) -> Vec<OrderingKey> {
    let entities = hints.owned.iter().cloned().map(OrderingKey::Entity);
    entities.chain(user.cloned().map(OrderingKey::User)).collect()
}

/// The keys of all parked records. A record is blocked by every record that was read before it and
/// is parked with one of its keys.
#[derive(Clone, Debug, Default)]
pub struct HeldKeys(HashMap<OrderingKey, BTreeSet<u64>>);

impl HeldKeys {
    /// Returns whether no record is parked with a key.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a record that was read before number `order` holds one of `keys`.
    pub(crate) fn blocks(&self, keys: &[OrderingKey], order: u64) -> bool {
        keys.iter().any(|key| self.first(key).is_some_and(|first| first < order))
    }

    /// Returns the number of the first record that holds `key`.
    pub(crate) fn first(&self, key: &OrderingKey) -> Option<u64> {
        self.0.get(key).and_then(BTreeSet::first).copied()
    }

    /// Holds `keys` for record number `order`.
    pub(crate) fn hold(&mut self, keys: &[OrderingKey], order: u64) {
        for key in keys {
            self.0.entry(key.clone()).or_default().insert(order);
        }
    }

    /// Releases what [`HeldKeys::hold`] holds.
    pub(crate) fn release(&mut self, keys: &[OrderingKey], order: u64) {
        for key in keys {
            if let Some(orders) = self.0.get_mut(key) {
                orders.remove(&order);
                if orders.is_empty() {
                    self.0.remove(key);
                }
            }
        }
    }
}

/// The keys that block the records of one batch: those of parked records, and those of records
/// earlier in the batch that could not be published.
#[derive(Debug)]
pub(super) struct BatchHolds<'a> {
    parked: &'a HeldKeys,
    batch: HashSet<OrderingKey>,
}

impl<'a> BatchHolds<'a> {
    pub(super) fn new(parked: &'a HeldKeys) -> Self {
        Self { parked, batch: HashSet::new() }
    }

    /// Returns whether nothing is blocked.
    pub(super) fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.batch.is_empty()
    }

    /// Returns whether a record with `keys`, number `order`, has to wait.
    pub(super) fn blocks(&self, keys: &[OrderingKey], order: u64) -> bool {
        self.parked.blocks(keys, order) || keys.iter().any(|key| self.batch.contains(key))
    }

    /// Blocks the later records of the batch that have one of `keys`.
    pub(super) fn hold(&mut self, keys: &[OrderingKey]) {
        self.batch.extend(keys.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> OrderingKey {
        OrderingKey::User(UserId::new(id).unwrap())
    }

    fn batch(id: &str) -> OrderingKey {
        OrderingKey::Entity(OwnedEntity::Batch(id.into()))
    }

    #[test]
    fn a_record_is_blocked_by_an_earlier_one_with_a_common_key_only() {
        let mut held = HeldKeys::default();
        held.hold(&[batch("b"), user("u")], 5);
        assert!(held.blocks(&[user("u")], 6) && held.blocks(&[user("v"), batch("b")], 6));
        assert!(!held.blocks(&[user("u")], 5) && !held.blocks(&[user("v"), batch("c")], 6));
        held.release(&[batch("b"), user("u")], 5);
        assert!(held.is_empty());
    }

    #[test]
    fn a_key_is_held_until_its_last_record_releases_it() {
        let mut held = HeldKeys::default();
        held.hold(&[user("u")], 1);
        held.hold(&[user("u")], 2);
        held.release(&[user("u")], 1);
        assert_eq!(held.first(&user("u")), Some(2));
        assert!(held.blocks(&[user("u")], 3));
    }

    #[test]
    fn a_record_blocks_later_records_of_its_own_batch() {
        let parked = HeldKeys::default();
        let mut holds = BatchHolds::new(&parked);
        assert!(holds.is_empty());
        holds.hold(&[batch("b")]);
        assert!(holds.blocks(&[batch("b"), user("u")], 0) && !holds.blocks(&[user("u")], 0));
    }
}
