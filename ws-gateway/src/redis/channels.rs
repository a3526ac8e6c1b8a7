//! Subscribes to channels, of which Redis may refuse some.

use redis::RedisResult;
use shared::redis::{Channel, PubSub};

use super::reply::{UserReply, user_reply};

/// Subscribes to channels.
pub(super) trait Subscribe {
    /// Returns when Redis has confirmed all of the channels, or refused them because of one.
    fn subscribe(&mut self, channels: Vec<Channel>)
    -> impl Future<Output = RedisResult<()>> + Send;
}

impl Subscribe for PubSub {
    async fn subscribe(&mut self, channels: Vec<Channel>) -> RedisResult<()> {
        Self::subscribe(self, channels).await
    }
}

/// Subscribes to all channels together, or one by one if Redis refuses one of them.
///
/// # Errors
/// If the connection or the server failed.
pub(super) async fn subscribe_each(
    pubsub: &mut impl Subscribe,
    channels: Vec<Channel>,
) -> RedisResult<Vec<UserReply<()>>> {
    let reply = user_reply(pubsub.subscribe(channels.clone()).await)?;
    if reply.is_ok() || channels.len() == 1 {
        return Ok(vec![reply; channels.len()]);
    }
    let mut replies = Vec::with_capacity(channels.len());
    for channel in channels {
        replies.push(user_reply(pubsub.subscribe(vec![channel]).await)?);
    }
    Ok(replies)
}

#[cfg(test)]
mod tests {
    use redis::ErrorKind;

    use super::*;
    use crate::metrics::RedisUserError;

    /// A connection that may not subscribe to one of the channels.
    #[derive(Default)]
    struct FakePubSub {
        subscribed: Vec<String>,
        is_lost: bool,
    }

    impl Subscribe for FakePubSub {
        async fn subscribe(&mut self, channels: Vec<Channel>) -> RedisResult<()> {
            if self.is_lost {
                return Err((ErrorKind::Io, "connection lost").into());
            }
            if channels.iter().any(|channel| channel.name == "refused") {
                return redis::parse_redis_value(b"-NOPERM no\r\n")?.extract_error().map(drop);
            }
            self.subscribed.extend(channels.into_iter().map(|channel| channel.name));
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_refused_channel_is_refused_alone_and_an_error_of_the_connection_ends_all() {
        let channel = |name: &str| Channel { name: name.into(), slot_key: name.into() };
        let channels = vec![channel("u"), channel("refused"), channel("v")];
        let mut pubsub = FakePubSub::default();
        let replies = subscribe_each(&mut pubsub, channels.clone()).await.unwrap();
        assert_eq!(replies, [Ok(()), Err(RedisUserError::NoPermission), Ok(())]);
        assert_eq!(pubsub.subscribed, ["u", "v"]);
        pubsub.is_lost = true;
        assert!(subscribe_each(&mut pubsub, channels).await.is_err());
    }
}
