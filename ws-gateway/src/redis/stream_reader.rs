//! What histories and read states are read with, during one session with Redis.

use redis::{Cmd, RedisResult, Value, cmd};
use shared::{keys::Keys, redis::RedisConnection};

use super::positions::RedisClock;

/// Pooled connections, and what is needed to read their replies.
#[derive(Clone)]
pub(crate) struct StreamReader {
    pub(super) connection: RedisConnection,
    pub(super) keys: Keys,
    pub(super) clock: RedisClock,
}

impl StreamReader {
    /// Runs commands, see [`RedisConnection::run_on_masters`].
    pub(super) async fn run(&self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        Ok(self.connection.run_on_masters(commands).await?.0)
    }

    /// Publishes a text on a channel.
    pub(super) async fn publish(&self, channel: String, text: String) -> RedisResult<()> {
        let mut publish = cmd("PUBLISH");
        publish.arg(channel).arg(text);
        self.run(vec![publish]).await?.pop().transpose().map(drop)
    }
}

impl std::fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.connection.fmt(f)
    }
}
