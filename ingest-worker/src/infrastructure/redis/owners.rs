//! The owner directory on Redis: a key per batch and class that holds the owner's user id.

use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use shared::{time::millis, user::UserId};

use super::{
    error::{self, OUT_OF_MEMORY},
    store::RedisStore,
};
use crate::{
    domain::recipients::{OwnedEntity, OwnerAnswers, OwnerDirectory},
    metrics::{RedisCall, WrongTypeKey},
    notification::publisher::TransientError,
};

impl OwnerDirectory for RedisStore {
    async fn find_and_learn(
        &self,
        requested: &[OwnedEntity],
        learned: &[(OwnedEntity, UserId)],
    ) -> Result<OwnerAnswers, TransientError> {
        let lifetime = millis(self.retention.owners);
        let mut commands = Vec::with_capacity(requested.len() + learned.len());
        commands.extend(requested.iter().map(|owned| Cmd::get(self.owner_key(owned))));
        for (owned, user) in learned {
            let mut set = cmd("SET");
            set.arg(self.owner_key(owned)).arg(user.as_str()).arg("PX").arg(lifetime);
            commands.push(set);
        }
        let connection = self.connect().await?;
        let writes = !learned.is_empty();
        let mut found = self.run(&connection, RedisCall::Owners, commands, writes).await?;
        let stored = found.split_off(requested.len());
        let mut answers = OwnerAnswers::default();
        let is_full = |result: &RedisResult<Value>| {
            result.as_ref().is_err_and(|error| error.code() == Some(OUT_OF_MEMORY))
        };
        if !learned.is_empty() && stored.iter().all(is_full) {
            return Err(error::transient_code(OUT_OF_MEMORY));
        }
        for (owned, result) in requested.iter().zip(found) {
            match self.owner(result) {
                Ok(Some(user)) => drop(answers.found.insert(owned.clone(), user)),
                Ok(None) => {}
                Err(error) => drop(answers.refused.insert(owned.clone(), self.count(&error))),
            }
        }
        for ((owned, _), result) in learned.iter().zip(stored) {
            if let Err(error) = result {
                answers.refused.insert(owned.clone(), self.count(&error));
            }
        }
        Ok(answers)
    }
}

impl RedisStore {
    fn owner_key(&self, owned: &OwnedEntity) -> String {
        match owned {
            OwnedEntity::Batch(id) => self.client.keys.batch_owner(id),
            OwnedEntity::Class(id) => self.client.keys.class_owner(id),
        }
    }

    /// Returns the user id that an owner's key holds. A key that holds no user id was written by
    /// other software and counts as missing; the next event that states the owner replaces it.
    fn owner(&self, result: RedisResult<Value>) -> Result<Option<UserId>, RedisError> {
        let value = match result {
            Ok(Value::Nil) => return Ok(None),
            Ok(value) => redis::from_redis_value::<String>(value).ok(),
            Err(error) if error.code() == Some("WRONGTYPE") => None,
            Err(error) => return Err(error),
        };
        let user = value.and_then(|id| UserId::new(&id).ok());
        if user.is_none() {
            self.metrics.wrong_type_keys.of(WrongTypeKey::Owner).inc();
        }
        Ok(user)
    }
}
