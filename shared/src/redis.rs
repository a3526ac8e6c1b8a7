//! Connecting to Redis: settings, time-outs, and where in which topology the commands go. Who
//! uses it sees [`RedisConnection`] and [`PubSub`], and never the topology.
//!
//! Nothing here retries: what fails is dropped, and connecting anew looks at the topology again.
//! The library's own Sentinel and Cluster clients retry inside, and hide the connection that WAIT
//! has to follow.

mod cluster;
mod connection;
mod pubsub;
mod sentinel;
mod server;
mod url;

use std::{sync::Arc, time::Duration};

use redis::{RedisResult, aio::AsyncPushSender};

use crate::{
    config::{self, Secret},
    keys::Keys,
    user::UserId,
};
use cluster::Cluster;
pub use connection::{RedisConnection, ReplicaAck};
pub use pubsub::{Channel, PubSub};
use sentinel::Sentinels;
use server::{Limits, Servers};
pub use url::RedisUrl;
use url::Topology;

/// Where Redis is and how long to wait for it.
#[derive(Clone, Debug, clap::Args)]
pub struct RedisSettings {
    /// Redis that both services use: `redis://[user:password@]host[:port][/db]`, `redis+sentinel://[user:password@]host[:port],.../master[/db]` or `redis+cluster://[user:password@]host[:port],...`; with TLS `rediss` in place of `redis`
    #[arg(
        long,
        env = "REDIS_URL",
        default_value = "redis://localhost:6379",
        hide_env_values = true
    )]
    pub redis_url: RedisUrl,
    /// Password of the sentinels themselves, if they want one
    #[arg(long, env = "REDIS_SENTINEL_PASSWORD", hide_env_values = true)]
    pub redis_sentinel_password: Option<Secret>,
    /// First part of every channel and key name
    #[arg(long, env = "REDIS_CHANNEL_PREFIX", default_value = "ws", value_parser = prefix)]
    pub redis_channel_prefix: String,
    /// Longest wait for a connection to Redis
    #[arg(long, env = "REDIS_CONNECT_TIMEOUT", default_value = "2s", value_parser = config::positive_duration)]
    pub redis_connect_timeout: Duration,
    /// Longest wait for an answer of Redis
    #[arg(long, env = "REDIS_RESPONSE_TIMEOUT", default_value = "2s", value_parser = config::positive_duration)]
    pub redis_response_timeout: Duration,
    /// Most connections to a server for occasional work, such as the past of clients that come back
    #[arg(long, env = "REDIS_POOL_SIZE", default_value = "8")]
    pub redis_pool_size: std::num::NonZeroUsize,
}

fn prefix(text: &str) -> Result<String, String> {
    let valid =
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if valid { Ok(text.to_owned()) } else { Err("letters, digits and - _ . only".into()) }
}

/// Opens connections to Redis. Cheap to clone; opening is what does I/O.
#[derive(Clone, Debug)]
pub struct RedisClient {
    place: Place,
    /// The names in use.
    pub keys: Keys,
}

/// Where the servers are to be found.
#[derive(Clone, Debug)]
enum Place {
    Standalone(Arc<Servers>),
    Sentinel(Arc<Sentinels>),
    Cluster(Arc<Cluster>),
}

impl RedisClient {
    /// Takes the settings; nothing is connected yet.
    ///
    /// # Errors
    /// When the URL asks for something that the client cannot do.
    pub fn new(settings: &RedisSettings) -> RedisResult<Self> {
        let limits = Limits {
            connect: settings.redis_connect_timeout,
            response: settings.redis_response_timeout,
            pool_size: settings.redis_pool_size.get(),
        };
        let place = match settings.redis_url.topology().clone() {
            Topology::Standalone(server) => {
                Place::Standalone(Arc::new(Servers::new(server, limits)?))
            }
            Topology::Sentinel { sentinels, master, server } => {
                let password = settings.redis_sentinel_password.as_ref();
                let servers = Servers::new(server, limits)?;
                Place::Sentinel(Arc::new(Sentinels::new(sentinels, master, password, servers)))
            }
            Topology::Cluster { seeds } => Place::Cluster(Arc::new(Cluster::new(seeds, limits)?)),
        };
        Ok(Self { place, keys: Keys::new(&settings.redis_channel_prefix) })
    }

    /// Opens what commands need: a connection to the server, or one to each master of a cluster.
    /// They may be shared: commands of many callers are pipelined.
    ///
    /// # Errors
    /// When Redis cannot be reached in time, refuses the credentials, or is no master.
    pub async fn connect(&self) -> RedisResult<RedisConnection> {
        // Boxed, as it is rarely done and its state is large.
        match &self.place {
            Place::Standalone(servers) => Box::pin(RedisConnection::to_server(servers)).await,
            Place::Sentinel(sentinels) => Box::pin(RedisConnection::to_master(sentinels)).await,
            Place::Cluster(cluster) => Box::pin(RedisConnection::to_cluster(cluster)).await,
        }
    }

    /// As [`RedisClient::connect`], and connections for subscriptions besides, to the same servers.
    /// What is pushed goes to `receiver`, in those connections' own tasks; the receiver must not
    /// block.
    ///
    /// # Errors
    /// As [`RedisClient::connect`].
    pub async fn connect_with_pubsub(
        &self,
        receiver: impl AsyncPushSender + Clone,
    ) -> RedisResult<(PubSub, RedisConnection)> {
        // Which server it is must be clear before: one that is tried in vain would tell the
        // receiver that it is gone.
        let commands = self.connect().await?;
        let pushes = commands.connect_with_pubsub(receiver).await?;
        Ok((pushes, commands))
    }

    /// Whether one script can reach all keys of a user. In Cluster they share a slot by the user
    /// id in braces, which an id that begins with the closing one leaves empty.
    #[must_use]
    pub fn supports_user(&self, user: &UserId) -> bool {
        !matches!(self.place, Place::Cluster(_)) || !user.as_str().starts_with('}')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_cannot_form_a_pattern_or_a_second_key() {
        assert!(prefix("ws").is_ok() && prefix("ws-2.test_1").is_ok());
        for bad in ["", "ws:", "w*", "{ws}", "w s"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
