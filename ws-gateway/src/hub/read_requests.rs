//! Requests to move the read cursors of users, which the Redis side serves. Those of one user are
//! merged, so that their number is bounded by that of the users.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use shared::user::UserId;
use tokio::sync::{Notify, oneshot};

use crate::protocol::Position;

/// What was requested for a user since the last request was served.
#[derive(Debug, Default)]
pub(crate) struct ReadRequest {
    /// The greatest position to move the cursor to; none: only publish the read state.
    pub(crate) up_to: Option<Position>,
    /// What is sent the read state as JSON; dropped if there is none.
    pub(crate) answers: Vec<oneshot::Sender<String>>,
}

/// The requests that are not served yet.
#[derive(Debug, Default)]
pub(crate) struct ReadRequests {
    by_user: Mutex<HashMap<UserId, ReadRequest>>,
    /// Notified when `by_user` is no longer empty.
    added: Notify,
}

impl ReadRequests {
    /// Requests that the read cursor of a user is moved forward, and that the read state is
    /// published to every connection of the user.
    pub(crate) fn add(&self, user: &UserId, request: ReadRequest) {
        let mut by_user = self.by_user();
        let merged = by_user.entry(user.clone()).or_default();
        merged.up_to = merged.up_to.max(request.up_to);
        merged.answers.retain(|answer| !answer.is_closed());
        merged.answers.extend(request.answers);
        drop(by_user);
        self.added.notify_one();
    }

    /// Waits until [`ReadRequests::take`] has requests to return.
    pub(crate) async fn added(&self) {
        while self.by_user().is_empty() {
            self.added.notified().await;
        }
    }

    /// Takes the requests of at most `users` users.
    #[must_use]
    pub(crate) fn take(&self, users: usize) -> Vec<(UserId, ReadRequest)> {
        let mut by_user = self.by_user();
        let taken: Vec<UserId> = by_user.keys().take(users).cloned().collect();
        taken.into_iter().filter_map(|user| by_user.remove_entry(&user)).collect()
    }

    fn by_user(&self) -> MutexGuard<'_, HashMap<UserId, ReadRequest>> {
        // The map is consistent after every step, so a panic elsewhere does not invalidate it.
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_requests_of_a_user_are_merged_and_the_greatest_position_counts() {
        let requests = ReadRequests::default();
        let [user, other] = ["u", "v"].map(|id| UserId::new(id).unwrap());
        let request = |up_to: &str| {
            let (answer, waiting) = oneshot::channel();
            let answers = vec![answer];
            requests.add(&user, ReadRequest { up_to: up_to.parse().ok(), answers });
            waiting
        };
        drop(request("7-0"));
        let _waiting = [request("9-1"), request("8-0")];
        requests.add(&user, ReadRequest::default());
        requests.add(&other, ReadRequest::default());
        requests.added().await;
        let mut taken = requests.take(1);
        taken.extend(requests.take(1));
        let merged = &taken.iter().find(|(of, _)| *of == user).unwrap().1;
        assert_eq!((merged.up_to, merged.answers.len()), ("9-1".parse().ok(), 2));
        assert_eq!((taken.len(), requests.take(1).len()), (2, 0));
    }
}
