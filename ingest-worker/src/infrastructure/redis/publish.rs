//! The publisher on Redis: sends the calls of a batch and reads their replies. After a refusal, the
//! user's later notifications in the batch are refused as well.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use redis::{RedisResult, Value};
use shared::{metrics::Label as _, user::UserId};

use super::{
    calls::{EncodedCalls, UserCall, round_trips},
    error::{self, OUT_OF_MEMORY},
    store::RedisStore,
};
use crate::{
    metrics::{RedisCall, WrongTypeKey},
    notification::publisher::{
        OutgoingNotification, PublishOutcome, Published, Publisher, StoredWatermark,
        TransientError, Watermark,
    },
};

/// Why Redis Cluster cannot store a user's keys in one slot.
const UNSUPPORTED_USER: &str = "in Redis Cluster a user id may not begin with }";

/// Outcomes found so far.
struct Progress<'a> {
    notifications: &'a [OutgoingNotification],
    outcomes: Vec<PublishOutcome>,
    /// Users of whom a notification was refused: those after it are refused as well.
    refused: HashMap<&'a UserId, TransientError>,
    calls: usize,
    /// How many of the calls were refused for lack of memory.
    out_of_memory: usize,
}

impl Publisher for RedisStore {
    /// The calls of the first round trip; those of others are large and encoded when they are due.
    type Encoded = Option<EncodedCalls>;

    fn encode(&self, notifications: &[OutgoingNotification]) -> Option<EncodedCalls> {
        let first = round_trips(notifications).next()?;
        Some(self.encode_calls(&self.script()?, notifications, first, |_| true))
    }

    async fn publish(
        &self,
        notifications: &[OutgoingNotification],
        encoded: Option<EncodedCalls>,
        written: &[Watermark],
    ) -> Result<Published, TransientError> {
        // The same for all round trips: after a failover between two of them, the watermark would
        // cover what the first has lost.
        let connection = self.connect().await?;
        let keys = &connection.watermarks;
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut replacing = keys.commands(written, attempt);
        let mut stored = Vec::new();
        let mut encoded = encoded.filter(|encoded| encoded.script == connection.script);
        let mut progress = Progress {
            notifications,
            outcomes: vec![PublishOutcome::Invalid(UNSUPPORTED_USER); notifications.len()],
            refused: HashMap::new(),
            calls: 0,
            out_of_memory: 0,
        };
        let only_watermarks = notifications.is_empty().then_some(0..0);
        for range in round_trips(notifications).chain(only_watermarks) {
            let is_last = range.end == notifications.len();
            let EncodedCalls { calls, mut commands, .. } = encoded.take().unwrap_or_else(|| {
                let may_send = |call: &UserCall| progress.may_send(call);
                self.encode_calls(&connection.script, notifications, range, may_send)
            });
            if is_last {
                commands.append(&mut replacing);
            }
            let mut results = self.run(&connection, RedisCall::Publish, commands, true).await?;
            let replies = results.split_off(calls.len());
            if !replies.is_empty() {
                stored = self.replaced(keys, written, replies).await?;
            }
            for (call, result) in calls.iter().zip(results) {
                self.record(call, result, &mut progress).await?;
            }
        }
        if progress.calls > 0 && progress.out_of_memory == progress.calls {
            return Err(error::transient_code(OUT_OF_MEMORY));
        }
        Ok(Published { outcomes: progress.outcomes, watermarks: stored })
    }

    async fn watermarks(
        &self,
        sources: &[Arc<str>],
    ) -> Result<Vec<StoredWatermark>, TransientError> {
        self.read_watermarks(sources).await
    }

    async fn time(&self) -> Result<i64, TransientError> {
        self.read_time().await
    }
}

impl RedisStore {
    /// Records the outcomes of one call.
    async fn record(
        &self,
        call: &UserCall,
        result: RedisResult<Value>,
        progress: &mut Progress<'_>,
    ) -> Result<(), TransientError> {
        progress.calls += 1;
        let reply = match result.and_then(|value| Ok(redis::from_redis_value::<String>(value)?)) {
            Ok(reply) => reply,
            Err(error) => match error.code() {
                Some(code) if !error::is_outage(&error) => {
                    self.refuse(call, 0, code, progress);
                    return Ok(());
                }
                _ => return Err(self.disconnect(&error).await),
            },
        };
        let mut lines = reply.lines();
        for (sent, &position) in call.positions.iter().enumerate() {
            progress.outcomes[position] = match lines.next().unwrap_or("-ERR") {
                "duplicate" => PublishOutcome::Duplicate,
                line => {
                    if let Some(error) = line.strip_prefix('-') {
                        let code = error.split(' ').next().unwrap_or_default();
                        if error::is_outage_code(code) {
                            self.metrics.redis_errors.of(error::kind_of_code(code)).inc();
                            self.drop_connection().await;
                            return Err(error::transient_code(code));
                        }
                        self.refuse(call, sent, code, progress);
                        return Ok(());
                    }
                    self.count_wrong_type_keys(line);
                    PublishOutcome::Published
                }
            };
        }
        Ok(())
    }

    /// Records that the notifications of a call were refused from the given one on.
    fn refuse(&self, call: &UserCall, from: usize, code: &str, progress: &mut Progress<'_>) {
        self.metrics.redis_errors.of(error::kind_of_code(code)).inc();
        if code == OUT_OF_MEMORY {
            progress.out_of_memory += 1;
        }
        let error = error::transient_code(code);
        progress.refuse(&call.positions[from..], &error);
    }

    /// Counts the kinds of keys of the wrong type that follow the stream id.
    fn count_wrong_type_keys(&self, line: &str) {
        for kind in line.split(' ').skip(1) {
            if let Some(key) = WrongTypeKey::all().into_iter().find(|key| key.label() == kind) {
                self.metrics.wrong_type_keys.of(key).inc();
            }
        }
    }
}

impl Progress<'_> {
    /// Returns whether no earlier notification of the user was refused; else refuses the call.
    fn may_send(&mut self, call: &UserCall) -> bool {
        let user = &call.first(self.notifications).user;
        let Some(error) = self.refused.get(user).cloned() else { return true };
        self.refuse(&call.positions, &error);
        false
    }

    /// Refuses notifications of one user.
    fn refuse(&mut self, positions: &[usize], error: &TransientError) {
        for &position in positions {
            self.outcomes[position] = PublishOutcome::Refused(error.clone());
            self.refused.insert(&self.notifications[position].user, error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::publisher::EventIdentity;

    #[test]
    fn after_a_refusal_the_users_later_notifications_are_refused_and_other_users_are_not() {
        let notifications = ["a", "a", "b"].map(|user| {
            let user = UserId::new(user).unwrap();
            let (identity, text) = (EventIdentity::Content([0; 32]), String::new());
            OutgoingNotification { user, identity, text, history_only: None }
        });
        let mut progress = Progress {
            notifications: &notifications,
            outcomes: vec![PublishOutcome::Published; 3],
            refused: HashMap::new(),
            calls: 0,
            out_of_memory: 0,
        };
        let error = error::transient_code("NOPERM");
        progress.refuse(&[0], &error);
        let call = |position| UserCall { positions: vec![position] };
        let sent = [1, 2].map(|position| progress.may_send(&call(position)));
        assert_eq!(sent, [false, true]);
        let refused = PublishOutcome::Refused(error);
        assert_eq!(progress.outcomes, [refused.clone(), refused, PublishOutcome::Published]);
    }
}
