//! Looks up what Redis has of an event, for operators. Reads only.

use anyhow::Context as _;
use redis::{Cmd, RedisResult, Value, cmd, streams::StreamRangeReply};
use shared::{
    keys::{Keys, STREAM_FIELD},
    redis::{RedisClient, RedisConnection},
    user::UserId,
};
use uuid::Uuid;

use crate::{domain::recipients::OwnedEntity, notification::publisher::EventIdentity};

/// The number of a user's latest notifications that are searched; more than most settings of
/// `HISTORY_MAX_LEN` keep.
const MAX_SEARCHED: usize = 4_096;

/// A connection for lookups.
#[derive(Debug)]
pub(crate) struct Lookup {
    connection: RedisConnection,
    keys: Keys,
}

/// What Redis has of an event for a user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The milliseconds until the claim expires; none if there is no claim.
    pub(crate) claim_ms: Option<i64>,
    /// The position in the user's history; none if the history does not have the event.
    pub(crate) position: Option<String>,
}

impl Lookup {
    /// Connects.
    ///
    /// # Errors
    /// If Redis cannot be used.
    pub(crate) async fn connect(client: &RedisClient) -> anyhow::Result<Self> {
        let connection = client.connect().await.context("Redis")?;
        Ok(Self { connection, keys: client.keys.clone() })
    }

    /// Returns the owner of the first entity that has one.
    ///
    /// # Errors
    /// If Redis does not reply, or refuses.
    pub(crate) async fn owner(&self, owned: &[OwnedEntity]) -> anyhow::Result<Option<UserId>> {
        let key = |owned: &OwnedEntity| match owned {
            OwnedEntity::Batch(id) => self.keys.batch_owner(id),
            OwnedEntity::Class(id) => self.keys.class_owner(id),
        };
        for reply in self.run(owned.iter().map(|owned| Cmd::get(key(owned))).collect()).await? {
            let id: Option<String> = redis::from_redis_value(readable(reply)?)?;
            if let Some(user) = id.and_then(|id| UserId::new(&id).ok()) {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    /// Returns what Redis has of an event for a user. Without `event` the history is not searched.
    ///
    /// # Errors
    /// If Redis does not reply, or refuses.
    pub(crate) async fn stored(
        &self,
        user: &UserId,
        identity: EventIdentity,
        event: Option<Uuid>,
    ) -> anyhow::Result<Stored> {
        let (seen, stream) = (self.keys.seen(user, identity), self.keys.stream(user));
        let mut expiry = cmd("PTTL");
        expiry.arg(&seen);
        let mut history = cmd("XREVRANGE");
        history.arg(stream).arg("+").arg("-").arg("COUNT");
        history.arg(if event.is_some() { MAX_SEARCHED } else { 1 });
        let commands = vec![expiry, Cmd::get(&seen), history];
        let mut replies = self.run(commands).await?.into_iter();
        let mut reply = || readable(replies.next().unwrap_or(Ok(Value::Nil)));
        let claim_ms: i64 = redis::from_redis_value(reply()?)?;
        let claim: Option<String> = redis::from_redis_value(reply()?)?;
        let entries: Option<StreamRangeReply> = redis::from_redis_value(reply()?)?;
        let text = event.map(|event| event.to_string());
        let entry = entries.unwrap_or_default().ids.into_iter().find(|entry| {
            let value = entry.get::<String>(STREAM_FIELD).unwrap_or_default();
            text.as_ref().is_some_and(|text| value.contains(text))
        });
        Ok(Stored {
            // A claim that the publish script could not delete after a refusal.
            claim_ms: claim.filter(|value| value != "refused").map(|_| claim_ms),
            position: entry.map(|entry| entry.id),
        })
    }

    async fn run(&self, commands: Vec<Cmd>) -> anyhow::Result<Vec<RedisResult<Value>>> {
        self.connection.run(commands).await.context("Redis")
    }
}

/// Returns a reply; nothing for a key of a type that the worker does not write, which it replaces
/// or ignores as well.
fn readable(reply: RedisResult<Value>) -> anyhow::Result<Value> {
    match reply {
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(Value::Nil),
        reply => reply.context("Redis"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_type_holds_nothing_and_other_errors_are_reported() {
        let error = |code: &str| Err(redis::make_extension_error(code.to_owned(), None));
        assert_eq!(readable(error("WRONGTYPE")).unwrap(), Value::Nil);
        assert!(readable(error("NOPERM")).is_err());
        assert_eq!(readable(Ok(Value::Int(1))).unwrap(), Value::Int(1));
    }
}
