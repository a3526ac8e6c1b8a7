//! Connecting to Redis: addresses, time-outs, and the two ways to use it. A single multiplexed
//! connection is for hot paths; the pool is for occasional work, as it checks a connection each
//! time it hands one out.

use std::{fmt, str::FromStr, time::Duration};

use deadpool_redis::{Manager, Pool, Runtime};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    aio::{AsyncPushSender, MultiplexedConnection},
    io::tcp::TcpSettings,
};

use crate::{config, keys::Keys};

/// Where Redis is and how long to wait for it.
#[derive(Clone, Debug, clap::Args)]
pub struct RedisSettings {
    /// Redis that both services use: `redis://` or, with TLS, `rediss://[:password@]host[:port][/db]`
    #[arg(
        long,
        env = "REDIS_URL",
        default_value = "redis://localhost:6379",
        hide_env_values = true
    )]
    pub redis_url: RedisUrl,
    /// First part of every channel and key name
    #[arg(long, env = "REDIS_CHANNEL_PREFIX", default_value = "ws", value_parser = prefix)]
    pub redis_channel_prefix: String,
    /// Longest wait for a connection to Redis
    #[arg(long, env = "REDIS_CONNECT_TIMEOUT", default_value = "2s", value_parser = config::positive_duration)]
    pub redis_connect_timeout: Duration,
    /// Longest wait for an answer of Redis
    #[arg(long, env = "REDIS_RESPONSE_TIMEOUT", default_value = "2s", value_parser = config::positive_duration)]
    pub redis_response_timeout: Duration,
    /// Most connections of the pool for occasional work
    #[arg(long, env = "REDIS_POOL_SIZE", default_value = "8")]
    pub redis_pool_size: std::num::NonZeroUsize,
}

fn prefix(text: &str) -> Result<String, String> {
    let valid =
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if valid { Ok(text.to_owned()) } else { Err("letters, digits and - _ . only".into()) }
}

/// The address of a Redis server. Printed without user and password.
#[derive(Clone)]
pub struct RedisUrl(ConnectionInfo);

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        // What the parser says could quote the URL, and with it a password.
        url.into_connection_info().map(Self).map_err(|_| {
            "not a URL like redis://host:6379 or rediss://:password@host:6380/0".into()
        })
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.addr())
    }
}

/// Opens connections to Redis. Cheap to clone; opening is what does I/O.
#[derive(Clone, Debug)]
pub struct Redis {
    client: Client,
    connect_timeout: Duration,
    response_timeout: Duration,
    pool_size: usize,
    /// The names in use.
    pub keys: Keys,
}

impl Redis {
    /// Takes the settings; nothing is connected yet.
    ///
    /// # Errors
    /// When the URL asks for something that the client cannot do.
    pub fn new(settings: &RedisSettings) -> redis::RedisResult<Self> {
        // Redis leaves the Nagle algorithm to its clients, and theirs is on by default.
        let info = settings.redis_url.0.clone();
        let protocol = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info
            .set_redis_settings(protocol)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(Self {
            client: Client::open(info)?,
            connect_timeout: settings.redis_connect_timeout,
            response_timeout: settings.redis_response_timeout,
            pool_size: settings.redis_pool_size.get(),
            keys: Keys::new(&settings.redis_channel_prefix),
        })
    }

    /// Opens a connection that may be shared: commands of many callers are pipelined.
    ///
    /// # Errors
    /// When Redis cannot be reached in time or refuses the credentials.
    pub async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        self.client.get_multiplexed_async_connection_with_config(&self.config()).await
    }

    /// Opens a connection that hands every pushed message to `receiver`, in the connection's own
    /// task; the receiver must not block.
    ///
    /// # Errors
    /// As [`Redis::connect`].
    pub async fn connect_with_pushes(
        &self,
        receiver: impl AsyncPushSender,
    ) -> redis::RedisResult<MultiplexedConnection> {
        let config = self.config().set_push_sender(receiver);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// A pool of connections, opened when they are needed.
    ///
    /// # Errors
    /// When the URL asks for something that the client cannot do.
    ///
    /// # Panics
    /// Never: the runtime that its time-outs need is given.
    pub fn pool(&self) -> redis::RedisResult<Pool> {
        let info = self.client.get_connection_info().clone();
        let manager = Manager::new_with_config(info, self.config())?;
        let pool = Pool::builder(manager)
            .max_size(self.pool_size)
            .wait_timeout(Some(self.response_timeout))
            .create_timeout(Some(self.connect_timeout))
            .recycle_timeout(Some(self.response_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("the pool has a runtime for its time-outs");
        Ok(pool)
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_pipeline_buffer_size(1024)
            .set_write_backpressure_boundary(256 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_printed_without_its_password() {
        let url: RedisUrl = "redis://admin:hunter2@example.org:6380/1".parse().unwrap();
        assert_eq!(format!("{url:?}"), "example.org:6380");
        let error = "redix://:hunter2@".parse::<RedisUrl>().unwrap_err();
        assert!(!error.contains("hunter2"));
    }

    #[test]
    fn a_prefix_cannot_form_a_pattern_or_a_second_key() {
        assert!(prefix("ws").is_ok() && prefix("ws-2.test_1").is_ok());
        for bad in ["", "ws:", "w*", "{ws}", "w s"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
