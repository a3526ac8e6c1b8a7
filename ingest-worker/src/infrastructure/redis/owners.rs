//! The owner directory on Redis: a key per batch and class that holds the owner's user id.

use redis::{Cmd, RedisResult, Value, cmd};
use shared::user::UserId;

use super::store::{RedisStore, millis};
use crate::{
    domain::recipients::{OwnedEntity, OwnerDirectory},
    metrics::{RedisCall, WrongTypeKey},
    notification::publisher::TransientError,
};

impl OwnerDirectory for RedisStore {
    async fn learn_and_find(
        &self,
        learned: &[(OwnedEntity, UserId)],
        requested: &[OwnedEntity],
    ) -> Result<Vec<Option<UserId>>, TransientError> {
        let lifetime = millis(self.retention.owners);
        let mut commands = Vec::with_capacity(learned.len() + requested.len());
        for (owned, user) in learned {
            let mut set = cmd("SET");
            set.arg(self.owner_key(owned)).arg(user.as_str()).arg("PX").arg(lifetime);
            commands.push(set);
        }
        commands.extend(requested.iter().map(|owned| Cmd::get(self.owner_key(owned))));
        let mut results = self.run(RedisCall::Owners, commands, !learned.is_empty()).await?;
        let found = results.split_off(learned.len());
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return Err(self.count(&error));
        }
        found.into_iter().map(|result| self.owner(result)).collect()
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
    fn owner(&self, result: RedisResult<Value>) -> Result<Option<UserId>, TransientError> {
        let value = match result {
            Ok(Value::Nil) => return Ok(None),
            Ok(value) => redis::from_redis_value::<String>(value).ok(),
            Err(error) if error.code() == Some("WRONGTYPE") => None,
            Err(error) => return Err(self.count(&error)),
        };
        let user = value.and_then(|id| UserId::new(&id).ok());
        if user.is_none() {
            self.metrics.wrong_type_keys.of(WrongTypeKey::Owner).inc();
        }
        Ok(user)
    }
}
