//! Who is connected, and to whom a text goes. Knows nothing of Redis or sockets. Never awaits
//! while holding its lock, and never waits for a socket.
//!
//! The subscriber obeys [`Hub::changed`] and confirms each user; what it receives meanwhile for
//! a user whose gap is not closed yet is held, so that it cannot overtake what is missing.

pub mod outbox;
mod registration;
mod user;

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use clap::ValueEnum;
use shared::user::UserId;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    auth::Credential,
    metrics::{Delivery, Metrics},
    protocol::{CloseReason, Frame, Position},
};
use outbox::Outbox;
pub use registration::Registration;
pub use user::Subscribed;
use user::User;

/// How many connections, and how much may wait for each.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections of one user.
    pub per_user: NonZeroUsize,
    /// Which one goes when there are more.
    pub policy: LimitPolicy,
    /// The queue of each.
    pub outbox: outbox::Limits,
}

/// Which connection is closed when a user has too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum LimitPolicy {
    /// The newest is refused.
    Reject,
    /// The oldest is closed.
    EvictOldest,
}

/// The user has as many connections as one may have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user has as many connections as one may have")]
pub struct LimitReached;

/// Who is connected. Cheap to clone; clones are the same hub.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    metrics: Metrics,
    state: Mutex<State>,
    /// Told when `State::changed` stops being empty.
    change: Notify,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, User>,
    /// Users whose subscription may have to change.
    changed: HashSet<UserId>,
}

/// A user whose subscription must be confirmed.
#[derive(Debug, PartialEq, Eq)]
pub struct PendingSubscription {
    /// Whose.
    pub user: UserId,
    /// Up to where the user has everything; none if that is still to be found out.
    pub position: Option<Position>,
}

/// What the subscriber has to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SubscriptionPlan {
    /// Users to be subscribed, and confirmed with [`Hub::mark_subscribed`].
    pub subscribe: Vec<PendingSubscription>,
    /// Users to be unsubscribed.
    pub unsubscribe: Vec<UserId>,
}

impl Hub {
    /// A hub without users.
    #[must_use]
    pub fn new(limits: Limits, metrics: Metrics) -> Self {
        let (state, change) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { limits, metrics, state, change }))
    }

    /// Adds a connection of `user`. Frames are queued for it from now on;
    /// [`Registration::confirmed`] tells when the subscription stands.
    ///
    /// # Errors
    /// [`LimitReached`] when the newest is the one to go.
    pub fn register(&self, user: &UserId, connection: Uuid) -> Result<Registration, LimitReached> {
        let Limits { per_user, policy, outbox } = self.0.limits;
        let outbox = Outbox::new(outbox);
        let mut state = self.state();
        let State { users, changed } = &mut *state;
        let entry = users.entry(user.clone()).or_insert_with(|| {
            changed.insert(user.clone());
            User::default()
        });
        if entry.connections.len() >= per_user.get() {
            match policy {
                LimitPolicy::Reject => return Err(LimitReached),
                LimitPolicy::EvictOldest => {
                    entry.connections.remove(0).outbox.close(CloseReason::LimitReached);
                }
            }
        }
        let confirmed = entry.join(connection, outbox.clone());
        self.count_users(&state);
        drop(state);
        self.0.change.notify_one();
        Ok(Registration::new(self.clone(), user.clone(), connection, outbox, confirmed))
    }

    /// Ends the connections whose tokens are covered: of one user, or of all.
    pub fn close_revoked(
        &self,
        only: Option<&UserId>,
        covered: impl Fn(&UserId, &Credential) -> bool,
    ) {
        let state = self.state();
        let end = |(user, entry): (&UserId, &User)| {
            let revoked = entry.connections.iter().filter(|c| covered(user, &c.credential));
            revoked.for_each(|connection| connection.outbox.close(CloseReason::Revoked));
        };
        match only {
            Some(user) => state.users.get_key_value(user).into_iter().for_each(end),
            None => state.users.iter().for_each(end),
        }
    }

    fn set_credential(&self, user: &UserId, connection: Uuid, credential: Credential) {
        self.with(user, |entry| entry.set_credential(connection, credential));
    }

    /// Hands a frame to every connection of `user`. Never waits.
    pub fn deliver(&self, user: &str, frame: Frame) {
        let mut state = self.state();
        let delivery = match state.users.get_mut(user) {
            Some(user) => user.deliver(frame, &self.0.metrics),
            None => Delivery::NotConnected,
        };
        drop(state);
        self.0.metrics.frames.of(delivery).inc();
    }

    /// Waits until there are changes.
    pub async fn changed(&self) {
        while self.state().changed.is_empty() {
            self.0.change.notified().await;
        }
    }

    /// Takes the users whose subscription may have to change.
    #[must_use]
    pub fn take_changed(&self) -> Vec<UserId> {
        std::mem::take(&mut self.state().changed).into_iter().collect()
    }

    /// What is to be done about `users`, as things stand now.
    #[must_use]
    pub fn plan(&self, users: impl IntoIterator<Item = UserId>) -> SubscriptionPlan {
        let state = self.state();
        let mut plan = SubscriptionPlan::default();
        for user in users {
            match state.users.get(&user) {
                None => plan.unsubscribe.push(user),
                Some(entry) if entry.is_confirmed() => {}
                Some(entry) => {
                    plan.subscribe.push(PendingSubscription { position: entry.position, user });
                }
            }
        }
        plan
    }

    /// Every subscription is lost. What comes from now on is held until each user is settled.
    /// Returns how many users have one to get back.
    #[must_use]
    pub fn mark_disconnected(&self) -> usize {
        let mut state = self.state();
        let State { users, changed } = &mut *state;
        for (user, entry) in users.iter_mut() {
            entry.hold();
            changed.insert(user.clone());
        }
        users.len()
    }

    /// The user has everything up to `position`, unless a position is known already.
    pub fn set_start_position(&self, user: &UserId, position: Position) {
        self.with(user, |entry| {
            entry.position.get_or_insert(position);
        });
    }

    /// The stream no longer holds everything since the user's position: tells the connections.
    /// `newest` is given when the stream ends before that position; the user starts anew there.
    pub fn report_gap(&self, user: &UserId, newest: Option<Position>) {
        self.with(user, |entry| entry.report_gap(newest));
    }

    /// Hands on what a user missed, in order.
    pub fn replay(&self, user: &UserId, missing: &[Frame]) {
        self.with(user, |entry| {
            for frame in missing {
                entry.forward(frame, &self.0.metrics);
            }
        });
    }

    /// The subscription stands and nothing more is missing: releases what was held, and the
    /// connections that wait for this.
    #[must_use]
    pub fn mark_subscribed(&self, user: &UserId) -> Subscribed {
        self.with(user, |entry| entry.mark_subscribed(&self.0.metrics)).unwrap_or(Subscribed::Live)
    }

    /// The newest position that was handed on to `user`.
    #[must_use]
    pub fn position(&self, user: &UserId) -> Option<Position> {
        self.with(user, |entry| entry.position).flatten()
    }

    fn unregister(&self, user: &UserId, connection: Uuid) {
        let mut state = self.state();
        let State { users, changed } = &mut *state;
        if let Some(entry) = users.get_mut(user)
            && entry.leave(connection)
        {
            users.remove(user);
            changed.insert(user.clone());
            self.count_users(&state);
            drop(state);
            self.0.change.notify_one();
        }
    }

    fn with<T>(&self, user: &UserId, act: impl FnOnce(&mut User) -> T) -> Option<T> {
        self.state().users.get_mut(user).map(act)
    }

    fn count_users(&self, state: &State) {
        self.0.metrics.connected_users.set(i64::try_from(state.users.len()).unwrap_or(i64::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every step, so a panic elsewhere does not spoil it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
