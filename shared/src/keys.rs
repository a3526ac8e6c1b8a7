//! Names of Redis keys and channels. Key names contain the user id as a hash tag (in braces), so
//! that all keys of a user share a slot in Redis Cluster.

use std::time::Duration;

use crate::user::UserId;

/// The maximum number of notifications that a worker can be set to keep for a user. A client resumes
/// from all of them, and a script that counts the unread ones keeps Redis from all others for less
/// than a second.
pub const MAX_HISTORY_LENGTH: usize = 100_000;

/// Builds key and channel names under one prefix.
///
/// ```
/// use shared::{keys::Keys, user::UserId};
///
/// let keys = Keys::new("ws");
/// let user = UserId::new("teacher-42")?;
/// assert_eq!(keys.channel(&user), "ws:teacher-42");
/// assert_eq!(keys.stream(&user), "ws:stream:{teacher-42}");
/// assert_eq!(keys.user_of("ws:teacher-42"), Some("teacher-42"));
/// # Ok::<(), shared::user::InvalidUserId>(())
/// ```
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Box<str>,
}

impl Keys {
    /// Creates a builder for names that start with `prefix` (`REDIS_CHANNEL_PREFIX`).
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Returns the prefix of all names.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the pub/sub channel that carries the frames of a user.
    #[must_use]
    pub fn channel(&self, user: &UserId) -> String {
        format!("{}:{user}", self.prefix)
    }

    /// Returns the user id of a channel name; the inverse of [`Keys::channel`].
    #[must_use]
    pub fn user_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_prefix(&*self.prefix)?.strip_prefix(':')
    }

    /// Returns the stream that holds the recent notifications of a user.
    #[must_use]
    pub fn stream(&self, user: &UserId) -> String {
        format!("{}:stream:{{{user}}}", self.prefix)
    }

    /// Returns the key that records how the user's stream begins: the position before its first
    /// entry, a space, and that entry.
    #[must_use]
    pub fn start(&self, user: &UserId) -> String {
        format!("{}:start:{{{user}}}", self.prefix)
    }

    /// Returns the key that holds the user's newest position. It outlives the stream: a client at
    /// this position has missed nothing even if the stream has expired.
    #[must_use]
    pub fn position(&self, user: &UserId) -> String {
        format!("{}:position:{{{user}}}", self.prefix)
    }

    /// Returns the key that holds the user's read cursor: the position up to which the user has
    /// read the notifications.
    #[must_use]
    pub fn read(&self, user: &UserId) -> String {
        format!("{}:read:{{{user}}}", self.prefix)
    }

    /// Returns the key that claims an event for a user: while it exists, the event is a duplicate.
    #[must_use]
    pub fn seen(&self, user: &UserId, identity: impl std::fmt::Display) -> String {
        format!("{}:seen:{{{user}}}:{identity}", self.prefix)
    }

    /// Returns the sorted set of revocations, scored by the time when each expires.
    #[must_use]
    pub fn revocations(&self) -> String {
        format!("{}:revoked", self.prefix)
    }

    /// Returns the pub/sub channel of revocations. It cannot be a user's channel: those start with
    /// the prefix and a colon.
    #[must_use]
    pub fn revocation_channel(&self) -> String {
        format!("{}/revoked", self.prefix)
    }

    /// Returns the pub/sub channel through which gateways probe their subscriptions.
    #[must_use]
    pub fn probe_channel(&self) -> String {
        format!("{}/probe", self.prefix)
    }

    /// Returns the pub/sub channel of operators' requests to all gateways.
    #[must_use]
    pub fn request_channel(&self) -> String {
        format!("{}/gateways", self.prefix)
    }

    /// Returns the pub/sub channel on which gateways answer the operator's request with this id.
    #[must_use]
    pub fn answer_channel(&self, request: impl std::fmt::Display) -> String {
        format!("{}/gateways/{request}", self.prefix)
    }

    /// Returns the pub/sub channel of the gateways' numbers of connections.
    #[must_use]
    pub fn count_channel(&self) -> String {
        self.answer_channel("counts")
    }

    /// Returns how the names of the keys begin that hold how far each Kafka partition is published.
    /// A number follows, so that there is a key on each master.
    #[must_use]
    pub fn watermark_prefix(&self) -> String {
        format!("{}:watermark:", self.prefix)
    }

    /// Returns the key that holds the owner's user id of a batch.
    #[must_use]
    pub fn batch_owner(&self, batch_id: &str) -> String {
        format!("{}:owner:batch:{batch_id}", self.prefix)
    }

    /// Returns the key that holds the owner's user id of a class.
    #[must_use]
    pub fn class_owner(&self, class_id: &str) -> String {
        format!("{}:owner:class:{class_id}", self.prefix)
    }
}

/// How long a user's read cursor is kept after the last request for it, and the newest position
/// after the last notification, at least.
pub const POSITION_LIFETIME: Duration = Duration::from_hours(90 * 24);

/// Begins each message on a user's channel that is not a frame of a publisher, but for gateways. No
/// text begins with it: a gateway that does not know the message, as one of an earlier version,
/// counts it as malformed and sends it to no client.
pub const FOR_GATEWAYS: u8 = 0xff;

/// A message for gateways: notifications were added to the user's history and not published, or
/// Redis has lost the history. Devices have to be sent a new read state.
pub const HISTORY_CHANGED: &[u8] = b"\xffhistory_changed";

/// The field of a stream entry that holds the JSON of the notification.
pub const STREAM_FIELD: &str = "n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_the_contract() {
        let keys = Keys::new("ws");
        let user = UserId::new("teacher-42").unwrap();
        assert_eq!(keys.channel(&user), "ws:teacher-42");
        assert_eq!(keys.stream(&user), "ws:stream:{teacher-42}");
        assert_eq!(keys.start(&user), "ws:start:{teacher-42}");
        assert_eq!(keys.read(&user), "ws:read:{teacher-42}");
        assert_eq!(keys.seen(&user, "e-1"), "ws:seen:{teacher-42}:e-1");
        assert_eq!(keys.revocations(), "ws:revoked");
        assert_eq!(keys.revocation_channel(), "ws/revoked");
        assert_eq!(keys.user_of(&keys.revocation_channel()), None);
        assert_eq!(keys.request_channel(), "ws/gateways");
        assert_eq!(keys.answer_channel(7), "ws/gateways/7");
        assert_eq!(keys.count_channel(), "ws/gateways/counts");
        assert_eq!(keys.batch_owner("b"), "ws:owner:batch:b");
        assert_eq!(keys.class_owner("c"), "ws:owner:class:c");
    }

    #[test]
    fn a_channel_name_maps_back_to_its_user_for_any_id() {
        let keys = Keys::new("ws");
        for id in ["teacher-42", "a:b", "{}", "ws:x", "*"] {
            let user = UserId::new(id).unwrap();
            assert_eq!(keys.user_of(&keys.channel(&user)), Some(id));
        }
        assert_eq!(keys.user_of("other:teacher-42"), None);
    }
}
