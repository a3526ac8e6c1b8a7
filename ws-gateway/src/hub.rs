//! The connected users and the fan-out of frames to their connections. Does not depend on Redis,
//! never awaits while holding its lock, and never waits for a socket. Frames that arrive before a
//! user is subscribed are held, so that they cannot overtake missing ones. The entry of a user has
//! a generation: a reply from Redis that was requested for an earlier one has no effect on a later.

mod changes;
pub(crate) mod client;
mod connections;
mod flush;
mod oldest;
pub mod outbox;
mod probe;
pub(crate) mod read_requests;
pub(crate) mod registration;
mod replay;
mod revocation;
mod subscription;
mod token_index;
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
    metrics::{Delivery, Metrics},
    protocol::{Frame, Position},
};
use outbox::Outbox;
use read_requests::{ReadRequest, ReadRequests};
pub use replay::{Replay, ReplayPage};
pub(crate) use replay::{ResumeFrom, with_read_state};
pub(crate) use subscription::{PendingSubscription, Subscription, SubscriptionPlan};
use token_index::TokenIndex;
pub(crate) use user::Resync;
pub use user::Subscribed;
use user::{FanOut, User};

/// The limits of a user's connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of connections of one user.
    pub per_user: NonZeroUsize,
    /// What happens above that number.
    pub policy: LimitPolicy,
    /// The limits of each connection's queue.
    pub outbox: outbox::Limits,
}

#[cfg(test)]
impl Limits {
    /// Two connections of a user, with queues of 8 frames and without a delay.
    pub(crate) const SMALL: Self = Self {
        per_user: NonZeroUsize::new(2).expect("not zero"),
        policy: LimitPolicy::Reject,
        outbox: outbox::Limits::SMALL,
    };
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

/// The connection limit of a user is reached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection limit per user reached (limit: {0})")]
pub struct LimitReached(pub NonZeroUsize);

/// The connected users. Cheap to clone; clones share their state.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    metrics: Metrics,
    state: Mutex<State>,
    /// Notified when `State::changed` is no longer empty.
    change: Notify,
    /// Notified when `State::to_flush` is no longer empty.
    flush: Notify,
    read_requests: ReadRequests,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, User>,
    /// Users whose subscription may have to change.
    changed: HashSet<UserId>,
    /// The generation of the newest entry in `users`.
    generation: u64,
    tokens: TokenIndex,
    /// Queues to write to their sockets.
    to_flush: Vec<Outbox>,
}

impl Hub {
    /// Bytes of a user with one connection and a token id, without the texts of both ids.
    #[cfg(test)]
    pub(crate) const SIZE_OF_USER: usize =
        size_of::<(UserId, User)>() + size_of::<user::Connection>() + TokenIndex::SIZE_OF_ENTRY;

    /// Returns a hub without users.
    #[must_use]
    pub fn new(limits: Limits, metrics: Metrics) -> Self {
        let (state, change, flush, read_requests) = Default::default();
        Self(Arc::new(Shared { limits, metrics, state, change, flush, read_requests }))
    }

    /// Returns the requests for read states.
    pub(crate) fn read_requests(&self) -> &ReadRequests {
        &self.0.read_requests
    }

    /// Queues a frame for every connection of `user`. Never waits.
    pub fn deliver(&self, user: &str, frame: Frame) {
        let metrics = &self.0.metrics;
        let delivery = self.fan_out(|state| {
            let State { users, to_flush, .. } = state;
            let entry = users.get_mut(user)?;
            let was_subscribed = entry.is_subscribed();
            let has_repeated = frame.is_restored;
            let mut fan_out = FanOut { metrics, to_flush, has_repeated };
            let delivery = entry.deliver(frame, &mut fan_out);
            let reads_again = was_subscribed && !entry.is_subscribed();
            Some((delivery, reads_again, fan_out.has_repeated))
        });
        let (delivery, reads_again, has_repeated) =
            delivery.unwrap_or((Delivery::NotConnected, false, false));
        metrics.frames.of(delivery).inc();
        if has_repeated {
            // Devices may have counted it under the id that Redis has lost.
            self.history_changed(user);
        }
        if reads_again && let Ok(user) = UserId::new(user) {
            self.request_subscription(&user);
        }
    }

    /// Holds the frames of a live user until the stream has been read again, because a frame
    /// contradicts it.
    pub(crate) fn read_again(&self, user: &str) {
        let mut state = self.state();
        let live = state.users.get_mut(user).filter(|entry| entry.is_subscribed());
        let is_held = live.map(User::hold).is_some();
        drop(state);
        if is_held && let Ok(user) = UserId::new(user) {
            self.request_subscription(&user);
        }
    }

    /// Sets the position up to which the user has everything, if it is unknown.
    pub(crate) fn set_start_position(&self, subscription: &Subscription, position: Position) {
        self.with(subscription, |entry| {
            entry.position.get_or_insert(position);
        });
    }

    /// Whether the entry still exists.
    #[must_use]
    pub(crate) fn has(&self, subscription: &Subscription) -> bool {
        self.with(subscription, |_| ()).is_some()
    }

    /// Reports to the live connections that frames were lost, and sets where the user continues.
    pub(crate) fn report_gap(&self, subscription: &Subscription, resync: Resync) {
        self.with(subscription, |entry| entry.report_gap(resync));
    }

    /// Delivers frames that the user missed, in order.
    pub(crate) fn replay(&self, subscription: &Subscription, missed: &[Frame]) {
        self.with_fan_out(subscription, |entry, fan_out| {
            for frame in missed {
                entry.replay(frame.clone(), fan_out);
            }
        });
    }

    /// Marks the user as subscribed and up to date: releases held frames, and the connections
    /// that wait for the subscription.
    #[must_use]
    pub fn mark_subscribed(&self, subscription: &Subscription) -> Subscribed {
        let mark = |entry: &mut User, fan_out: &mut FanOut<'_>| {
            let shows_read_state = entry.shows_read_state();
            (entry.mark_subscribed(fan_out), shows_read_state)
        };
        let (subscribed, shows_read_state) =
            self.with_fan_out(subscription, mark).unwrap_or((Subscribed::Live, false));
        if shows_read_state && subscribed == Subscribed::Live {
            // Read states that were published without a subscription are lost.
            self.0.read_requests.add(&subscription.user, ReadRequest::default());
        }
        subscribed
    }

    /// Requests the read state of a user whose history has changed other than by frames.
    pub(crate) fn history_changed(&self, user: &str) {
        let shows = self.state().users.get(user).is_some_and(User::shows_read_state);
        if shows && let Ok(user) = UserId::new(user) {
            self.0.read_requests.add(&user, ReadRequest::default());
        }
    }

    /// Returns whether the entry is live but its position is unknown.
    #[must_use]
    pub(crate) fn lacks_position(&self, subscription: &Subscription) -> bool {
        let lacks = |entry: &mut User| entry.is_subscribed() && entry.position.is_none();
        self.with(subscription, lacks).unwrap_or(false)
    }

    /// Returns the newest position that was delivered to `user`.
    #[must_use]
    pub(crate) fn position(&self, user: &UserId) -> Option<Position> {
        self.state().users.get(user).and_then(|entry| entry.position)
    }

    fn unregister(&self, user: &UserId, connection: Uuid) {
        let mut state = self.state();
        let State { users, changed, tokens, .. } = &mut *state;
        let Some(entry) = users.get_mut(user) else { return };
        if let Some(credential) = entry.leave(connection) {
            tokens.remove(user, &credential, entry);
        }
        if entry.connections.is_empty() {
            users.remove(user);
            changed.insert(user.clone());
            self.count_users(&state);
            drop(state);
            self.0.change.notify_one();
        }
    }

    /// Applies `act` to the entry, unless it was replaced by a later one.
    fn with<T>(&self, subscription: &Subscription, act: impl FnOnce(&mut User) -> T) -> Option<T> {
        self.with_fan_out(subscription, |entry, _| act(entry))
    }

    /// As [`Hub::with`], for an `act` that queues frames.
    fn with_fan_out<T>(
        &self,
        Subscription { user, generation }: &Subscription,
        act: impl FnOnce(&mut User, &mut FanOut<'_>) -> T,
    ) -> Option<T> {
        let metrics = &self.0.metrics;
        self.fan_out(|State { users, to_flush, .. }| {
            let entry = users.get_mut(user).filter(|entry| entry.generation == *generation)?;
            Some(act(entry, &mut FanOut { metrics, to_flush, has_repeated: false }))
        })
    }

    fn count_users(&self, state: &State) {
        self.0.metrics.connected_users.set(i64::try_from(state.users.len()).unwrap_or(i64::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every step, so a panic elsewhere does not invalidate it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
