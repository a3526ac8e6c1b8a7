//! A real server, and what is published to the channel of the operations.

use std::time::Duration;

use futures_util::StreamExt as _;
use harness::redis::{Redis, RedisTopology as _};
use redis::{Client, Cmd, RedisError, Value, aio::MultiplexedConnection, cmd};
use tokio::time::timeout;

use super::{CHANNEL, Command, is_limit};

/// A real server.
pub(crate) struct Real {
    connection: MultiplexedConnection,
    messages: redis::aio::PubSubStream,
    _server: Redis,
}

impl Real {
    /// Connects to a server whose streams are trimmed to the exact length.
    pub(crate) async fn connect(server: Redis) -> Self {
        let mut connection = server.connection().await.expect("a connection");
        let mut exact = cmd("CONFIG");
        exact.arg("SET").arg("stream-node-max-entries").arg(1);
        exact.exec_async(&mut connection).await.expect("the server is configured");
        let client = Client::open(server.url()).expect("a URL");
        let mut messages = client.get_async_pubsub().await.expect("a connection");
        messages.subscribe(CHANNEL).await.expect("the channel is subscribed");
        Self { connection, messages: messages.into_on_message(), _server: server }
    }

    /// Runs a command.
    pub(crate) async fn run(&mut self, command: &Command) -> Result<Value, RedisError> {
        let mut parts = command.iter();
        let mut request = Cmd::new();
        if is_limit(command) {
            let limit = if command[1] == "full" { "1" } else { "0" };
            request.arg(&["CONFIG", "SET", "maxmemory", limit]);
        } else {
            request.arg(parts.next().expect("a command has a name"));
            parts.for_each(|part| {
                request.arg(part);
            });
        }
        request.query_async(&mut self.connection).await
    }

    /// Returns the next message that was published to the channel.
    pub(crate) async fn message(&mut self) -> Vec<u8> {
        let next = timeout(Duration::from_secs(10), self.messages.next());
        let message = next.await.expect("a message is published").expect("a subscription");
        message.get_payload_bytes().to_vec()
    }

    /// Returns the type of a key, how many entries a stream has, and in how many milliseconds the
    /// key expires.
    pub(crate) async fn describe(&mut self, key: &str) -> (String, Option<usize>, Option<u64>) {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TYPE").arg(key).cmd("PTTL").arg(key);
        let (name, expires): (String, i64) =
            pipeline.query_async(&mut self.connection).await.expect("the server answers");
        let length = if name == "stream" {
            Some(cmd("XLEN").arg(key).query_async(&mut self.connection).await.expect("a length"))
        } else {
            None
        };
        (name, length, u64::try_from(expires).ok())
    }

    /// Waits for the next millisecond: a stream that is created again within one would assign an id
    /// again.
    pub(crate) async fn await_next_millisecond(&mut self) {
        let mut first = None;
        loop {
            let (seconds, micros): (u64, u64) =
                cmd("TIME").query_async(&mut self.connection).await.expect("the server answers");
            let now = (seconds, micros / 1000);
            if *first.get_or_insert(now) != now {
                return;
            }
        }
    }
}
