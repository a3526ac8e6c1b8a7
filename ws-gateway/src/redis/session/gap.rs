//! The gap of one user, which its stream closes.

use crate::{hub::Subscription, protocol::Position};

/// A user whose stream is being read.
pub(super) struct Gap {
    pub(super) subscription: Subscription,
    pub(super) position: Position,
    /// Whether the user was live before.
    pub(super) is_repair: bool,
    /// Whether frames were lost that the stream no longer has.
    pub(super) is_lost: bool,
}

impl Gap {
    pub(super) fn new(subscription: Subscription, position: Position, is_repair: bool) -> Self {
        Self { subscription, position, is_repair, is_lost: false }
    }
}
