//! The calls of a batch: one script call per user and round trip, so that a user's notifications
//! stay in order even if Redis refuses some of a pipeline's commands.

use std::{collections::HashMap, iter, ops::Range, sync::Arc};

use redis::Cmd;
use shared::{keys::POSITION_LIFETIME, time::millis};

use super::store::RedisStore;
use crate::notification::publisher::OutgoingNotification;

/// Bytes of notifications in one round trip. At 2 Mbit/s it takes a second, which is less than the
/// default response time-out, so that a slow but moving transfer succeeds. A full batch of ordinary
/// notifications fits.
const MAX_BYTES: usize = 256 << 10;

/// Bytes of a call's arguments but for the texts, and for each of them, with a user id of usual
/// length. A guess that is too low costs time only.
const ARGUMENT_BYTES: (usize, usize) = (400, 120);

/// The notifications of one user in one round trip, by their positions in the batch; at least one.
#[derive(Debug)]
pub(super) struct UserCall {
    pub(super) positions: Vec<usize>,
}

/// The calls of one round trip, ready to be sent.
#[derive(Debug)]
pub struct EncodedCalls {
    /// SHA-1 of the script that they call.
    pub(super) script: Arc<str>,
    pub(super) calls: Vec<UserCall>,
    /// The command of each call.
    pub(super) commands: Vec<Cmd>,
}

impl RedisStore {
    /// Encodes the notifications of a round trip but those of calls that may not be sent.
    pub(super) fn encode_calls(
        &self,
        script: &Arc<str>,
        notifications: &[OutgoingNotification],
        range: Range<usize>,
        mut may_send: impl FnMut(&UserCall) -> bool,
    ) -> EncodedCalls {
        let mut calls = calls_by_user(notifications, range);
        let is_supported =
            |call: &UserCall| self.client.supports_user(&call.first(notifications).user);
        calls.retain(|call| is_supported(call) && may_send(call));
        let command = |call| self.command(script, call, notifications);
        let commands = calls.iter().map(command).collect();
        EncodedCalls { script: Arc::clone(script), calls, commands }
    }

    fn command(
        &self,
        script: &str,
        call: &UserCall,
        notifications: &[OutgoingNotification],
    ) -> Cmd {
        let OutgoingNotification { user, history_only, .. } = call.first(notifications);
        let (keys, count) = (&self.client.keys, call.positions.len());
        let bytes = call.positions.iter().map(|&position| notifications[position].text.len());
        let bytes = bytes.sum::<usize>() + ARGUMENT_BYTES.0 + ARGUMENT_BYTES.1 * count;
        let mut command = Cmd::with_capacity(12 + 2 * count, bytes);
        command
            .arg("EVALSHA")
            .arg(script)
            .arg(count + 3)
            .arg(keys.stream(user))
            .arg(keys.start(user))
            .arg(keys.position(user));
        for &position in &call.positions {
            command.arg(keys.seen(user, notifications[position].identity));
        }
        command
            .arg(keys.channel(user))
            .arg(millis(self.retention.seen))
            .arg(millis(self.retention.history))
            .arg(self.retention.history_length)
            .arg(millis(self.retention.history.saturating_add(POSITION_LIFETIME)))
            .arg(history_only.map_or_else(String::new, |loss| loss.to_string()));
        for &position in &call.positions {
            command.arg(&notifications[position].text);
        }
        command
    }
}

impl UserCall {
    /// Returns the first of the notifications.
    pub(super) fn first<'a>(
        &self,
        notifications: &'a [OutgoingNotification],
    ) -> &'a OutgoingNotification {
        &notifications[self.positions[0]]
    }
}

/// Splits a batch into round trips of at most [`MAX_BYTES`], or of one notification.
pub(super) fn round_trips(
    notifications: &[OutgoingNotification],
) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |notification: &&OutgoingNotification| {
            bytes += notification.text.len();
            bytes <= MAX_BYTES
        };
        let count = notifications[start..].iter().take_while(fits).count();
        let end = notifications.len().min(start + count.max(1));
        let range = start..end;
        start = end;
        (!range.is_empty()).then_some(range)
    })
}

/// Groups the notifications of a round trip by user, in the order of each user's first.
fn calls_by_user(notifications: &[OutgoingNotification], range: Range<usize>) -> Vec<UserCall> {
    let mut calls: Vec<UserCall> = Vec::with_capacity(range.len());
    let mut call_of_user = HashMap::with_capacity(range.len());
    for position in range {
        let OutgoingNotification { user, history_only, .. } = &notifications[position];
        let call = *call_of_user.entry((user, *history_only)).or_insert(calls.len());
        match calls.get_mut(call) {
            Some(call) => call.positions.push(position),
            None => calls.push(UserCall { positions: vec![position] }),
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use shared::user::UserId;

    use super::*;
    use crate::notification::publisher::EventIdentity;

    fn notification(user: &str, bytes: usize) -> OutgoingNotification {
        let user = UserId::new(user).unwrap();
        let text = "x".repeat(bytes);
        let identity = EventIdentity::Content([0; 32]);
        OutgoingNotification { user, identity, text, history_only: None }
    }

    #[test]
    fn a_users_notifications_share_a_call_and_keep_their_order() {
        let notifications = ["a", "b", "a", "c", "b", "a"].map(|user| notification(user, 1));
        let calls = calls_by_user(&notifications, 1..6);
        let calls = calls.iter().map(|c| (c.first(&notifications).user.as_str(), &*c.positions));
        assert!(calls.eq([("b", &[1, 4][..]), ("a", &[2, 5]), ("c", &[3])]));
    }

    #[test]
    fn a_round_trip_is_bounded_in_bytes_and_holds_at_least_one_notification() {
        let sizes = [MAX_BYTES / 2, MAX_BYTES / 2, 1, MAX_BYTES + 1, 1];
        let notifications = sizes.map(|bytes| notification("u", bytes));
        let ranges: Vec<_> = round_trips(&notifications).collect();
        assert_eq!(ranges, [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(round_trips(&[]).count(), 0);
    }
}
