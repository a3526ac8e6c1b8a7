//! Which subscriptions have to change, and which were lost.

use shared::user::UserId;

use super::{Hub, State, subscription::SubscriptionPlan};

impl Hub {
    /// Waits until [`Hub::take_changed`] has users to return.
    pub(crate) async fn changed(&self) {
        while self.state().changed.is_empty() {
            self.0.change.notified().await;
        }
    }

    /// Takes the users whose subscription may have to change.
    #[must_use]
    pub(crate) fn take_changed(&self) -> Vec<UserId> {
        std::mem::take(&mut self.state().changed).into_iter().collect()
    }

    /// Requests the subscription of a user again, in case the first request had no effect.
    pub(super) fn request_subscription(&self, user: &UserId) {
        self.state().changed.insert(user.clone());
        self.0.change.notify_one();
    }

    /// Returns the changes that `users` need in the present state.
    #[must_use]
    pub fn plan(&self, users: impl IntoIterator<Item = UserId>) -> SubscriptionPlan {
        let state = self.state();
        let mut plan = SubscriptionPlan::default();
        for user in users {
            match state.users.get(&user) {
                None => plan.unsubscribe.push(user),
                Some(entry) if entry.is_subscribed() => {}
                Some(entry) => plan.subscribe.push(entry.pending(user)),
            }
        }
        plan
    }

    /// Marks every subscription as lost. Frames are held until each user is subscribed again.
    /// Returns the number of users.
    #[must_use]
    pub(crate) fn mark_disconnected(&self) -> usize {
        let mut state = self.state();
        let State { users, changed, .. } = &mut *state;
        for (user, entry) in users.iter_mut() {
            entry.hold();
            changed.insert(user.clone());
        }
        users.len()
    }

    /// Marks the subscriptions of users as lost, as [`Hub::mark_disconnected`] does for all.
    pub(crate) fn mark_unsubscribed(&self, users: Vec<UserId>) {
        let mut state = self.state();
        for user in users {
            if let Some(entry) = state.users.get_mut(&user) {
                entry.hold();
            }
            state.changed.insert(user);
        }
        drop(state);
        self.0.change.notify_one();
    }
}
