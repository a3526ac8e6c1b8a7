//! Who is told: the user that the payload names, else the owner of the batch, else the owner of
//! the class. Learns owners from every event that names both.

use std::{collections::HashMap, future::Future};

use shared::user::UserId;

use crate::notification::publisher::NotNow;

/// Something that has an owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owned {
    /// A batch, by its id.
    Batch(String),
    /// A class, by its id.
    Class(String),
}

/// Remembers who owns what, for all workers. An implementation guarantees that what a call
/// teaches is found by every later call, for as long as owners are kept.
pub trait OwnerDirectory: Send + Sync {
    /// Remembers `taught`, then looks up `asked`, all in one round trip; answers in the order
    /// asked.
    ///
    /// # Errors
    /// [`NotNow`] if any of it is in doubt; the same may then be asked again.
    fn learn_and_find(
        &self,
        taught: &[(Owned, UserId)],
        asked: &[Owned],
    ) -> impl Future<Output = Result<Vec<Option<UserId>>, NotNow>> + Send;
}

/// What an event says about who is to be told.
#[derive(Clone, Debug, Default)]
pub struct Address {
    /// The user it names.
    pub user: Option<UserId>,
    /// What it is about, whose owners are told else, in this order.
    pub owned: Vec<Owned>,
}

/// What the addresses of a batch say of owners, and what they leave open.
#[derive(Debug)]
pub struct Owners {
    /// What an address taught, before anything else is found.
    taught: HashMap<Owned, UserId>,
    asked: Vec<Owned>,
    found: HashMap<Owned, UserId>,
}

impl Owners {
    /// Those of a batch.
    #[must_use]
    pub fn of(addresses: &[&Address]) -> Self {
        let mut taught = HashMap::new();
        for address in addresses {
            if let Some(user) = &address.user {
                taught.extend(address.owned.iter().map(|owned| (owned.clone(), user.clone())));
            }
        }
        let mut asked = Vec::new();
        for address in addresses.iter().filter(|address| address.user.is_none()) {
            // What these events teach themselves needs no asking.
            asked
                .extend(address.owned.iter().filter(|owned| !taught.contains_key(*owned)).cloned());
        }
        asked.sort_unstable();
        asked.dedup();
        Self { taught, asked, found: HashMap::new() }
    }

    /// Whether it takes the directory's answer to know who is told.
    #[must_use]
    pub fn are_asked_for(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Teaches the directory what is new to it and finds what was open.
    ///
    /// # Errors
    /// As [`OwnerDirectory::learn_and_find`].
    pub async fn exchange(&mut self, directory: &impl OwnerDirectory) -> Result<(), NotNow> {
        if self.taught.is_empty() && self.asked.is_empty() {
            return Ok(());
        }
        let facts = self.taught.iter().map(|(owned, user)| (owned.clone(), user.clone()));
        let facts: Vec<_> = facts.collect();
        let answers = directory.learn_and_find(&facts, &self.asked).await?;
        let answers = self.asked.iter().cloned().zip(answers);
        self.found.extend(answers.filter_map(|(owned, user)| Some((owned, user?))));
        Ok(())
    }

    /// Whom to tell at each address; `None` where nobody knows.
    #[must_use]
    pub fn recipients(&self, addresses: &[&Address]) -> Vec<Option<UserId>> {
        let known = |owned: &Owned| self.taught.get(owned).or_else(|| self.found.get(owned));
        let recipient = |address: &&Address| {
            let owner = || address.owned.iter().find_map(known);
            address.user.as_ref().or_else(owner).cloned()
        };
        addresses.iter().map(recipient).collect()
    }
}

/// Remembers owners in memory and what was asked of it; can be told to fail.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakeDirectory {
    pub(crate) owners: std::sync::Mutex<HashMap<Owned, UserId>>,
    pub(crate) round_trips: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl OwnerDirectory for FakeDirectory {
    async fn learn_and_find(
        &self,
        taught: &[(Owned, UserId)],
        asked: &[Owned],
    ) -> Result<Vec<Option<UserId>>, NotNow> {
        self.round_trips.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut owners = self.owners.lock().unwrap();
        owners.extend(taught.iter().cloned());
        Ok(asked.iter().map(|owned| owners.get(owned).cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(user: Option<&str>, owned: &[Owned]) -> Address {
        Address { user: user.map(|id| UserId::new(id).unwrap()), owned: owned.to_vec() }
    }

    fn batch(id: &str) -> Owned {
        Owned::Batch(id.into())
    }

    fn class(id: &str) -> Owned {
        Owned::Class(id.into())
    }

    async fn resolved(directory: &FakeDirectory, addresses: &[Address]) -> Vec<Option<String>> {
        let addresses: Vec<&Address> = addresses.iter().collect();
        let mut owners = Owners::of(&addresses);
        owners.exchange(directory).await.unwrap();
        let users = owners.recipients(&addresses).into_iter();
        users.map(|user| user.map(|user| user.to_string())).collect()
    }

    #[tokio::test]
    async fn the_named_user_wins_over_the_batch_over_the_class() {
        let directory = FakeDirectory::default();
        directory.owners.lock().unwrap().extend([
            (batch("b"), UserId::new("of-batch").unwrap()),
            (class("c"), UserId::new("of-class").unwrap()),
        ]);
        let addresses = [
            address(Some("named"), &[]),
            address(None, &[batch("b"), class("c")]),
            address(None, &[batch("unheard-of"), class("c")]),
            address(None, &[batch("unheard-of")]),
        ];
        let expected = [Some("named"), Some("of-batch"), Some("of-class"), None];
        let users = resolved(&directory, &addresses).await;
        assert_eq!(users, expected.map(|user| user.map(str::to_owned)));
    }

    #[tokio::test]
    async fn an_owner_is_learned_for_the_same_batch_of_events_and_for_later_ones() {
        let directory = FakeDirectory::default();
        let before = address(None, &[batch("b")]);
        let teaches = address(Some("u"), &[batch("b"), class("c")]);
        let users = resolved(&directory, &[before, teaches]).await;
        assert_eq!(users, [Some("u".to_owned()), Some("u".to_owned())]);
        let users = resolved(&directory, &[address(None, &[class("c")])]).await;
        assert_eq!(users, [Some("u".to_owned())]);
        assert_eq!(directory.round_trips.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn events_that_name_only_their_user_cost_no_round_trip() {
        let directory = FakeDirectory::default();
        resolved(&directory, &[address(Some("u"), &[])]).await;
        assert_eq!(directory.round_trips.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}
