//! Requests to move the read cursors of users, which the Redis side serves, oldest first. Those of
//! one user are merged, so that their number is bounded by that of the users.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::{
    backoff::Backoff,
    due_queue::{DueQueue, Place},
    user::UserId,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use crate::protocol::Position;

/// The delays between attempts for a user whose keys cannot be read or written.
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_mins(1));

/// What was requested for a user since the last request was served.
#[derive(Debug, Default)]
pub(crate) struct ReadRequest {
    /// The greatest position to move the cursor to; none: only publish the read state.
    pub(crate) up_to: Option<Position>,
    /// What is sent the read state as JSON; dropped if there is none.
    pub(crate) answers: Vec<oneshot::Sender<String>>,
    /// Whether the read state is not published, as only `answers` asked for it.
    pub(crate) is_silent: bool,
}

/// A request that was taken to be served.
#[derive(Debug)]
pub(crate) struct TakenRequest {
    pub(crate) user: UserId,
    pub(crate) request: ReadRequest,
    backoff: Backoff,
}

/// The requests that are not served yet.
#[derive(Debug, Default)]
pub(crate) struct ReadRequests {
    state: Mutex<State>,
    /// Notified when a request may be due earlier than those before.
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<UserId, Waiting>,
    /// The users in the order in which they are served.
    order: DueQueue<UserId>,
}

#[derive(Debug)]
struct Waiting {
    request: ReadRequest,
    place: Place,
    backoff: Backoff,
}

impl ReadRequests {
    /// Requests that the read cursor of a user is moved forward, and that the read state is
    /// published to every connection of the user.
    pub(crate) fn add(&self, user: &UserId, request: ReadRequest) {
        let mut state = self.state();
        if let Some(waiting) = state.waiting.get_mut(user) {
            waiting.request.merge(request);
        } else {
            state.insert(user.clone(), request, Instant::now(), RETRY);
            drop(state);
            self.added.notify_one();
        }
    }

    /// Puts back a request that could not be served. The user is tried again after a back-off.
    pub(crate) fn retry(&self, taken: TakenRequest) {
        let TakenRequest { user, mut request, mut backoff } = taken;
        if request.is_obsolete() {
            return;
        }
        let mut state = self.state();
        if let Some(later) = state.waiting.remove(&user) {
            state.order.remove(later.place);
            request.merge(later.request);
        }
        state.insert(user, request, Instant::now() + backoff.next_delay(), backoff);
        drop(state);
        self.added.notify_one();
    }

    /// Makes every request due now, because the reason why it was not served may be gone.
    pub(crate) fn wake(&self) {
        let mut state = self.state();
        let State { waiting, order } = &mut *state;
        for user in order.extract_if(|_| true) {
            if let Some(waiting) = waiting.get_mut(&user) {
                waiting.place = order.insert(Instant::now(), user);
            }
        }
        drop(state);
        self.added.notify_one();
    }

    /// Waits until [`ReadRequests::take`] has requests to return.
    pub(crate) async fn due(&self) {
        loop {
            let first = self.state().order.next_due();
            match first {
                Some(due) if due <= Instant::now() => return,
                // The time-out is the time at which it is due.
                Some(due) => drop(timeout_at(due, self.added.notified()).await),
                None => self.added.notified().await,
            }
        }
    }

    /// Takes the requests of at most `users` users, those that have waited longest.
    #[must_use]
    pub(crate) fn take(&self, users: usize) -> Vec<TakenRequest> {
        let mut state = self.state();
        let due = state.order.take_due(users, Instant::now()).into_iter();
        let taken = due.filter_map(|user| {
            let Waiting { request, backoff, .. } = state.waiting.remove(&user)?;
            Some(TakenRequest { user, request, backoff })
        });
        taken.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every step, so a panic elsewhere does not invalidate it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, user: UserId, request: ReadRequest, due: Instant, backoff: Backoff) {
        let place = self.order.insert(due, user.clone());
        self.waiting.insert(user, Waiting { request, place, backoff });
    }
}

impl ReadRequest {
    /// Returns whether no client waits for its result any more.
    fn is_obsolete(&self) -> bool {
        let is_answered = self.answers.iter().all(oneshot::Sender::is_closed);
        self.is_silent && self.up_to.is_none() && is_answered
    }

    fn merge(&mut self, other: Self) {
        self.up_to = self.up_to.max(other.up_to);
        self.is_silent &= other.is_silent;
        self.answers.retain(|answer| !answer.is_closed());
        self.answers.extend(other.answers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn add(requests: &ReadRequests, id: &str, up_to: &str) -> oneshot::Receiver<String> {
        let (answer, waiting) = oneshot::channel();
        requests.add(
            &user(id),
            ReadRequest { up_to: up_to.parse().ok(), answers: vec![answer], is_silent: false },
        );
        waiting
    }

    #[tokio::test(start_paused = true)]
    async fn the_requests_of_a_user_are_merged_and_the_greatest_position_counts() {
        let requests = ReadRequests::default();
        drop(add(&requests, "u", "7-0"));
        let _waiting = [add(&requests, "u", "9-1"), add(&requests, "u", "8-0")];
        requests.add(&user("u"), ReadRequest::default());
        requests.due().await;
        let taken = requests.take(9).remove(0);
        assert_eq!((taken.request.up_to, taken.request.answers.len()), ("9-1".parse().ok(), 2));
        assert!(requests.take(9).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_no_client_waits_for_is_not_tried_again() {
        let requests = ReadRequests::default();
        for (up_to, is_kept) in [("", false), ("7-0", true)] {
            let (answer, _) = oneshot::channel();
            let (up_to, answers) = (up_to.parse().ok(), vec![answer]);
            requests.add(&user("u"), ReadRequest { up_to, answers, is_silent: true });
            requests.retry(requests.take(1).remove(0));
            assert_eq!(!requests.state().waiting.is_empty(), is_kept);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn users_are_served_in_the_order_of_their_first_requests() {
        let requests = ReadRequests::default();
        for id in ["a", "b", "c", "a", "b", "d"] {
            requests.add(&user(id), ReadRequest::default());
        }
        let mut served = Vec::new();
        for _ in 0..6 {
            for taken in requests.take(1) {
                // Each user asks again at once.
                requests.add(&taken.user, ReadRequest::default());
                served.push(taken.user.to_string());
            }
        }
        assert_eq!(served, ["a", "b", "c", "d", "a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_cannot_be_served_is_tried_again_after_a_back_off_and_delays_no_other() {
        let requests = ReadRequests::default();
        let _first = add(&requests, "u", "9-0");
        let start = Instant::now();
        for _ in 0..8 {
            requests.due().await;
            let failed = requests.take(1).remove(0);
            let _later = add(&requests, "u", "8-0");
            requests.retry(failed);
            assert!(requests.take(1).is_empty(), "the later request waits as well");
        }
        assert!(start.elapsed() > Duration::from_secs(3), "{:?}", start.elapsed());
        requests.add(&user("v"), ReadRequest::default());
        requests.due().await;
        assert_eq!(requests.take(9).remove(0).user, user("v"));
        requests.due().await;
        let mut failed = requests.take(9).remove(0);
        assert_eq!(failed.request.up_to, "9-0".parse().ok());
        for _ in 0..9 {
            requests.retry(failed);
            requests.wake();
            failed = requests.take(9).remove(0);
        }
    }
}
