//! What the hub asks of the Redis subscriber.

use shared::user::UserId;

use crate::protocol::Position;

/// One entry of a user in the hub, from the first connection to the end of the last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscription {
    /// The user.
    pub user: UserId,
    /// The generation of the entry.
    pub generation: u64,
}

/// A user whose subscription has to be confirmed.
#[derive(Debug, PartialEq, Eq)]
pub struct PendingSubscription {
    /// The user's entry.
    pub subscription: Subscription,
    /// The newest position that was delivered to the user, if there is one.
    pub position: Option<Position>,
    /// Whether connections of the user were live before, so that they may have missed frames.
    pub was_live: bool,
}

/// The changes that the subscriber has to make.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SubscriptionPlan {
    /// Users to subscribe, each to be confirmed with
    /// [`Hub::mark_subscribed`](super::Hub::mark_subscribed).
    pub subscribe: Vec<PendingSubscription>,
    /// Users to unsubscribe.
    pub unsubscribe: Vec<UserId>,
}
