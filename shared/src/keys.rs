//! Every name that both services use in Redis. The user stands in braces in key names, so that
//! all keys of one user share a slot in Redis Cluster.

use crate::user::UserId;

/// Builds the names under one prefix.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Box<str>,
}

impl Keys {
    /// Names that start with `prefix` (`REDIS_CHANNEL_PREFIX`).
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The pub/sub channel with the frames of one user.
    #[must_use]
    pub fn channel(&self, user: &UserId) -> String {
        format!("{}:{user}", self.prefix)
    }

    /// The user whose channel this is; the inverse of [`Keys::channel`].
    #[must_use]
    pub fn user_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_prefix(&*self.prefix)?.strip_prefix(':')
    }

    /// The stream with a user's recent notifications.
    #[must_use]
    pub fn stream(&self, user: &UserId) -> String {
        format!("{}:stream:{{{user}}}", self.prefix)
    }

    /// The mark that a user had no history when a client last asked, and with which entry it
    /// began since.
    #[must_use]
    pub fn start(&self, user: &UserId) -> String {
        format!("{}:start:{{{user}}}", self.prefix)
    }

    /// The mark that an event has been published to a user.
    #[must_use]
    pub fn seen(&self, user: &UserId, identity: impl std::fmt::Display) -> String {
        format!("{}:seen:{{{user}}}:{identity}", self.prefix)
    }

    /// The sorted set of revoked users and tokens, by the time when each is over.
    #[must_use]
    pub fn revocations(&self) -> String {
        format!("{}:revoked", self.prefix)
    }

    /// The pub/sub channel of revocations. A prefix holds no slash, so it is no user's.
    #[must_use]
    pub fn revocation_channel(&self) -> String {
        format!("{}/revoked", self.prefix)
    }

    /// Holds the user id of the owner of a batch.
    #[must_use]
    pub fn batch_owner(&self, batch_id: &str) -> String {
        format!("{}:owner:batch:{batch_id}", self.prefix)
    }

    /// Holds the user id of the owner of a class.
    #[must_use]
    pub fn class_owner(&self, class_id: &str) -> String {
        format!("{}:owner:class:{class_id}", self.prefix)
    }
}

/// The field of a stream entry that holds the notification's text.
pub const STREAM_FIELD: &str = "n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        let keys = Keys::new("ws");
        let user = UserId::new("teacher-42").unwrap();
        assert_eq!(keys.channel(&user), "ws:teacher-42");
        assert_eq!(keys.stream(&user), "ws:stream:{teacher-42}");
        assert_eq!(keys.start(&user), "ws:start:{teacher-42}");
        assert_eq!(keys.seen(&user, "e-1"), "ws:seen:{teacher-42}:e-1");
        assert_eq!(keys.revocations(), "ws:revoked");
        assert_eq!(keys.revocation_channel(), "ws/revoked");
        assert_eq!(keys.user_of(&keys.revocation_channel()), None);
        assert_eq!(keys.batch_owner("b"), "ws:owner:batch:b");
        assert_eq!(keys.class_owner("c"), "ws:owner:class:c");
    }

    #[test]
    fn a_channel_leads_back_to_its_user_whatever_the_id() {
        let keys = Keys::new("ws");
        for id in ["teacher-42", "a:b", "{}", "ws:x", "*"] {
            let user = UserId::new(id).unwrap();
            assert_eq!(keys.user_of(&keys.channel(&user)), Some(id));
        }
        assert_eq!(keys.user_of("other:teacher-42"), None);
    }
}
