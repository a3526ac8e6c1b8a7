//! The publisher on Redis: one script call per user and round trip, so that a user's notifications
//! stay in order even if Redis refuses some of a pipeline's commands.

use std::{
    collections::HashMap,
    iter,
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use redis::{Cmd, RedisResult, Value, cmd};
use shared::{keys::POSITION_LIFETIME, metrics::Label as _, time::millis, user::UserId};

use super::{
    error::{self, OUT_OF_MEMORY},
    store::RedisStore,
};
use crate::{
    metrics::{RedisCall, WrongTypeKey},
    notification::{
        loss_time::LossTime,
        publisher::{
            OutgoingNotification, PublishOutcome, Published, Publisher, StoredWatermark,
            TransientError, Watermark,
        },
    },
};

/// Bytes of notifications in one round trip. At 2 Mbit/s it takes a second, which is less than the
/// default response time-out, so that a slow but moving transfer succeeds. A full batch of ordinary
/// notifications fits.
const MAX_BYTES: usize = 256 << 10;

/// Why Redis Cluster cannot store a user's keys in one slot.
const UNSUPPORTED_USER: &str = "in Redis Cluster a user id may not begin with }";

/// The notifications of one user in one round trip, by their positions in the batch.
#[derive(Debug, PartialEq)]
struct UserCall<'a> {
    user: &'a UserId,
    history_only: Option<LossTime>,
    positions: Vec<usize>,
}

/// Outcomes found so far.
struct Progress<'a> {
    outcomes: Vec<PublishOutcome>,
    /// Users of whom a notification was refused: those after it are refused as well.
    refused: HashMap<&'a UserId, TransientError>,
    calls: usize,
    /// How many of the calls were refused for lack of memory.
    out_of_memory: usize,
}

impl Publisher for RedisStore {
    async fn publish(
        &self,
        notifications: &[OutgoingNotification],
        written: &[Watermark],
    ) -> Result<Published, TransientError> {
        // The same for all round trips: after a failover between two of them, the watermark would
        // cover what the first has lost.
        let connection = self.connect().await?;
        let keys = &connection.watermarks;
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut replacing = keys.commands(written, attempt);
        let mut stored = Vec::new();
        let mut progress = Progress {
            outcomes: vec![PublishOutcome::Invalid(UNSUPPORTED_USER); notifications.len()],
            refused: HashMap::new(),
            calls: 0,
            out_of_memory: 0,
        };
        let only_watermarks = notifications.is_empty().then_some(0..0);
        for range in round_trips(notifications).chain(only_watermarks) {
            let is_last = range.end == notifications.len();
            let mut calls = calls_by_user(notifications, range);
            calls.retain(|call| self.client.supports_user(call.user) && progress.may_send(call));
            let script_calls =
                calls.iter().map(|call| self.command(&connection.script, call, notifications));
            let since = keys.note_since(&self.round_trip_times);
            let mut commands: Vec<Cmd> = since.chain(script_calls).collect();
            let begin = commands.len() - calls.len();
            if is_last {
                commands.append(&mut replacing);
            }
            let mut noted = self.run(&connection, RedisCall::Publish, commands, true).await?;
            let mut results = noted.split_off(begin);
            let replies = results.split_off(calls.len());
            if !replies.is_empty() {
                stored = self.replaced(keys, written, replies).await?;
            }
            for (call, result) in calls.iter().zip(results) {
                self.record(call, result, &mut progress).await?;
            }
            self.round_trip_times.record(keys, noted);
        }
        if progress.calls > 0 && progress.out_of_memory == progress.calls {
            return Err(error::transient_code(OUT_OF_MEMORY));
        }
        self.connection_logged.store(false, Ordering::Relaxed);
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
    fn command(
        &self,
        script: &str,
        call: &UserCall<'_>,
        notifications: &[OutgoingNotification],
    ) -> Cmd {
        let (keys, user) = (&self.client.keys, call.user);
        let mut command = cmd("EVALSHA");
        command
            .arg(script)
            .arg(call.positions.len() + 3)
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
            .arg(call.history_only.map_or_else(String::new, |loss| loss.to_string()));
        for &position in &call.positions {
            command.arg(&notifications[position].text);
        }
        command
    }

    /// Records the outcomes of one call.
    async fn record<'a>(
        &self,
        call: &UserCall<'a>,
        result: RedisResult<Value>,
        progress: &mut Progress<'a>,
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
    fn refuse<'a>(
        &self,
        call: &UserCall<'a>,
        from: usize,
        code: &str,
        progress: &mut Progress<'a>,
    ) {
        self.metrics.redis_errors.of(error::kind_of_code(code)).inc();
        if code == OUT_OF_MEMORY {
            progress.out_of_memory += 1;
        }
        let error = error::transient_code(code);
        progress.refuse(call.user, &call.positions[from..], error);
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

impl<'a> Progress<'a> {
    /// Returns whether no earlier notification of the user was refused; else refuses the call.
    fn may_send(&mut self, call: &UserCall<'a>) -> bool {
        let Some(error) = self.refused.get(call.user).cloned() else { return true };
        self.refuse(call.user, &call.positions, error);
        false
    }

    fn refuse(&mut self, user: &'a UserId, positions: &[usize], error: TransientError) {
        for &position in positions {
            self.outcomes[position] = PublishOutcome::Refused(error.clone());
        }
        self.refused.insert(user, error);
    }
}

/// Splits a batch into round trips of at most [`MAX_BYTES`], or of one notification.
fn round_trips(notifications: &[OutgoingNotification]) -> impl Iterator<Item = Range<usize>> {
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
fn calls_by_user(notifications: &[OutgoingNotification], range: Range<usize>) -> Vec<UserCall<'_>> {
    let mut calls: Vec<UserCall<'_>> = Vec::with_capacity(range.len());
    let mut call_of_user = HashMap::with_capacity(range.len());
    for position in range {
        let OutgoingNotification { user, history_only, .. } = &notifications[position];
        let call = *call_of_user.entry((user, *history_only)).or_insert(calls.len());
        match calls.get_mut(call) {
            Some(call) => call.positions.push(position),
            None => calls.push(UserCall {
                user,
                history_only: *history_only,
                positions: vec![position],
            }),
        }
    }
    calls
}

#[cfg(test)]
mod tests;
