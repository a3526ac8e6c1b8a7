//! The newest position of each user, and which positions are plausible.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use redis::{Cmd, RedisResult, Value, cmd, from_redis_value};
use shared::{
    keys::{Keys, POSITION_LIFETIME},
    redis::RedisConnection,
    time,
    user::UserId,
};

use super::reply::{UserReply, text, user_reply};
use crate::{metrics::RedisUserError, protocol::Position};

const NEWEST_POSITION: &str = include_str!("newest_position.lua");

/// A position is plausible up to this time ahead of Redis's clock. A greater one was not assigned
/// by Redis, and would make every real position look old.
const MAX_AHEAD: Duration = Duration::from_mins(1);

/// Redis's clock, as its difference from this machine's. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct RedisClock {
    ahead_ms: Arc<AtomicI64>,
}

impl RedisClock {
    /// Reads the clock of every node; the one that is ahead of the others counts.
    ///
    /// # Errors
    /// If a node does not answer.
    pub(super) async fn update(&self, connection: &RedisConnection) -> RedisResult<()> {
        let replies = connection.run_on_all_nodes(&cmd("TIME")).await?;
        let times = replies.into_iter().filter_map(|reply| {
            let (seconds, microseconds): (u64, u32) = from_redis_value(reply).ok()?;
            Some(Duration::from_secs(seconds) + Duration::from_micros(microseconds.into()))
        });
        if let Some(newest) = times.max() {
            self.set(newest, SystemTime::now());
        }
        Ok(())
    }

    fn set(&self, redis: Duration, local: SystemTime) {
        let local = local.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.ahead_ms.store(millis(redis) - millis(local), Ordering::Relaxed);
    }

    /// Returns the time of Redis in Unix milliseconds, at the time `local` of this machine.
    pub(super) fn unix_ms(&self, local: SystemTime) -> i64 {
        let local = local.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        millis(local).saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Returns whether Redis can have assigned the position by now.
    pub(super) fn has_reached(&self, position: Position, now: SystemTime) -> bool {
        let limit = self.unix_ms(now).saturating_add(millis(MAX_AHEAD));
        i64::try_from(position.ms()).is_ok_and(|ms| ms <= limit)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the command that reads the newest position of a user.
pub(super) fn newest_position(keys: &Keys, user: &UserId) -> Cmd {
    let mut script = cmd("EVAL");
    script
        .arg(NEWEST_POSITION)
        .arg(2)
        .arg(keys.stream(user))
        .arg(keys.position(user))
        .arg(rand::random_range(1..1_u32 << 10))
        .arg(time::millis(POSITION_LIFETIME))
        .arg(keys.channel(user));
    script
}

/// Reads the reply to [`newest_position`].
///
/// # Errors
/// If the reply concerns every user.
pub(super) fn read_position(
    reply: RedisResult<Value>,
    clock: &RedisClock,
) -> RedisResult<UserReply<Position>> {
    let read = |value: Value| {
        let position: Position = text(&value)?.parse().ok()?;
        clock.has_reached(position, SystemTime::now()).then_some(position)
    };
    let reply = user_reply(reply)?;
    Ok(reply.and_then(|value| read(value).ok_or(RedisUserError::Unreadable)))
}

#[cfg(test)]
mod tests {
    use shared::keys::HISTORY_CHANGED;

    use super::*;

    fn position(at: Duration) -> Position {
        format!("{}-0", at.as_millis()).parse().unwrap()
    }

    #[test]
    fn the_script_publishes_the_message_that_gateways_know() {
        let name = str::from_utf8(&HISTORY_CHANGED[1..]).unwrap();
        assert!(NEWEST_POSITION.contains(&format!("'\\{}{name}'", HISTORY_CHANGED[0])));
    }

    #[test]
    fn a_position_is_accepted_up_to_a_minute_ahead_of_redis() {
        let (clock, local) = (RedisClock::default(), Duration::from_secs(1_000_000));
        let now = SystemTime::UNIX_EPOCH + local;
        for (redis, newest) in [
            (local, local + Duration::from_secs(59)),
            (local + Duration::from_hours(1), local + Duration::from_secs(3659)),
            (Duration::from_hours(275), Duration::from_secs(990_059)),
        ] {
            clock.set(redis, now);
            assert!(clock.has_reached(position(newest), now), "{newest:?}");
            assert!(!clock.has_reached(position(newest + Duration::from_secs(2)), now));
        }
        assert!(!clock.has_reached("18446744073709551615-0".parse().unwrap(), now));
    }

    #[test]
    fn a_reply_that_is_no_plausible_position_concerns_its_user_only() {
        let clock = RedisClock::default();
        let reply = |value: Value| read_position(Ok(value), &clock).unwrap();
        let bulk = |text: &str| Value::BulkString(text.into());
        assert_eq!(reply(bulk("12-3")), Ok("12-3".parse().unwrap()));
        for value in [bulk("soon"), bulk("99999999999999-0"), Value::Nil, Value::Int(7)] {
            assert_eq!(reply(value.clone()), Err(RedisUserError::Unreadable), "{value:?}");
        }
    }
}
