//! Redis connections for standalone, Sentinel and Cluster deployments. Callers use
//! [`RedisConnection`] and [`PubSub`] and never see the topology. Nothing here retries, but for
//! commands whose slot has moved: after an error the caller connects again, which discovers the
//! topology anew. The Sentinel and Cluster
//! clients of `redis` retry internally and hide the connection on which `WAIT` follows a write.

pub mod check;
mod cluster;
mod connection;
mod dial;
mod nodes;
mod pubsub;
mod sentinel;
mod server;
mod slot_map;
mod url;

use std::{sync::Arc, time::Duration};

use redis::{RedisError, RedisResult, aio::AsyncPushSender};

use crate::{
    config::{self, Secret},
    keys::Keys,
    user::UserId,
};
use cluster::Cluster;
pub use connection::RedisConnection;
use dial::Network;
pub use dial::{Dial, RedisStream};
pub use nodes::ReplicaAck;
pub use pubsub::{Channel, PubSub};
use sentinel::Sentinels;
use server::{Limits, Servers};
use url::Endpoints;
pub use url::RedisUrl;

/// Returns whether Redis Cluster refused a command because no master serves the slot of its keys:
/// other slots may be served. The code alone may also mean that the whole cluster is down.
#[must_use]
pub fn is_slot_not_served(error: &RedisError) -> bool {
    error.code() == Some("CLUSTERDOWN")
        && error.detail().is_some_and(|detail| detail.starts_with("Hash slot not served"))
}

/// Redis settings.
#[derive(Clone, Debug, clap::Args)]
pub struct RedisSettings {
    /// Address of Redis, the same for both services: `redis://[user:password@]host[:port][/db]`,
    /// `redis+sentinel://[user:password@]host[:port],.../master[/db]` or
    /// `redis+cluster://[user:password@]host[:port],...`; with TLS `rediss` in place of `redis`
    #[arg(
        long,
        env = "REDIS_URL",
        default_value = "redis://localhost:6379",
        hide_env_values = true
    )]
    pub redis_url: RedisUrl,
    /// Password of the sentinels themselves, if they require one
    #[arg(long, env = "REDIS_SENTINEL_PASSWORD", hide_env_values = true)]
    pub redis_sentinel_password: Option<Secret>,
    /// Prefix of every channel and key name
    #[arg(long, env = "REDIS_CHANNEL_PREFIX", default_value = DEFAULT_PREFIX, value_parser = prefix)]
    pub redis_channel_prefix: String,
    /// Time limit for connecting to Redis
    #[arg(long, env = "REDIS_CONNECT_TIMEOUT", default_value = "2s", value_parser = config::positive_duration)]
    pub redis_connect_timeout: Duration,
    /// Time limit for a response of Redis
    #[arg(long, env = "REDIS_RESPONSE_TIMEOUT", default_value = "2s", value_parser = config::positive_duration)]
    pub redis_response_timeout: Duration,
    /// Maximum number of pooled connections per server, used for example to read the history of
    /// reconnecting clients
    #[arg(long, env = "REDIS_POOL_SIZE", default_value = "8", value_parser = config::number_up_to(10_000))]
    pub redis_pool_size: std::num::NonZeroUsize,
}

/// The default of `REDIS_CHANNEL_PREFIX`.
const DEFAULT_PREFIX: &str = "ws";

impl RedisSettings {
    /// Returns the problems of the settings as a whole. Databases of a server share their pub/sub
    /// channels, so two environments that differ only in the database would receive each other's
    /// notifications.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let database = self.redis_url.database();
        let is_shared = database != 0 && self.redis_channel_prefix == DEFAULT_PREFIX;
        let problem = || {
            format!(
                "REDIS_CHANNEL_PREFIX: set a prefix of this environment, as REDIS_URL selects \
                 database {database} and all databases share the channels of `{DEFAULT_PREFIX}`"
            )
        };
        is_shared.then(problem).into_iter().collect()
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let valid =
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if valid {
        Ok(text.to_owned())
    } else {
        Err("a prefix consists of letters, digits and - _ .".into())
    }
}

/// Opens connections to Redis. Cheap to clone; creating it does no I/O.
#[derive(Clone, Debug)]
pub struct RedisClient {
    topology: Topology,
    /// The key and channel names under the configured prefix.
    pub keys: Keys,
}

/// What discovers the servers.
#[derive(Clone, Debug)]
enum Topology {
    Standalone(Arc<Servers>),
    Sentinel(Arc<Sentinels>),
    Cluster(Arc<Cluster>),
}

impl RedisClient {
    /// Creates a client; connects nothing yet.
    ///
    /// # Errors
    /// If the URL requires something that the `redis` crate does not support.
    pub fn new(settings: &RedisSettings) -> RedisResult<Self> {
        Self::in_network(settings, &Network::System)
    }

    /// Creates a client whose connections are opened by `network`.
    ///
    /// # Errors
    /// As [`RedisClient::new`].
    pub fn with_dial(settings: &RedisSettings, network: Arc<dyn Dial>) -> RedisResult<Self> {
        Self::in_network(settings, &Network::Other(network))
    }

    fn in_network(settings: &RedisSettings, network: &Network) -> RedisResult<Self> {
        let limits = Limits {
            connect: settings.redis_connect_timeout,
            response: settings.redis_response_timeout,
            pool_size: settings.redis_pool_size.get(),
        };
        let topology = match settings.redis_url.endpoints().clone() {
            Endpoints::Standalone(server) => {
                Topology::Standalone(Arc::new(Servers::new(server, limits, network.clone())?))
            }
            Endpoints::Sentinel { sentinels, master, server } => {
                let password = settings.redis_sentinel_password.as_ref();
                let servers = Servers::new(server, limits, network.clone())?;
                Topology::Sentinel(Arc::new(Sentinels::new(sentinels, master, password, servers)))
            }
            Endpoints::Cluster { seeds } => {
                Topology::Cluster(Arc::new(Cluster::new(seeds, limits, network.clone())?))
            }
        };
        Ok(Self { topology, keys: Keys::new(&settings.redis_channel_prefix) })
    }

    /// Connects to the server, or to every master of a cluster. The connection can be shared:
    /// commands of concurrent callers are pipelined.
    ///
    /// # Errors
    /// If Redis cannot be reached in time, rejects the credentials, or is not a master.
    pub async fn connect(&self) -> RedisResult<RedisConnection> {
        // Boxed: called rarely, and the futures are large.
        match &self.topology {
            Topology::Standalone(servers) => Box::pin(RedisConnection::to_server(servers)).await,
            Topology::Sentinel(sentinels) => Box::pin(RedisConnection::to_master(sentinels)).await,
            Topology::Cluster(cluster) => Box::pin(RedisConnection::to_cluster(cluster)).await,
        }
    }

    /// Does what [`RedisClient::connect`] does, and opens pub/sub connections to the same servers.
    /// Pushed messages go to `handler`, which runs in the tasks of those connections and must not
    /// block.
    ///
    /// # Errors
    /// As [`RedisClient::connect`].
    pub async fn connect_with_pubsub(
        &self,
        handler: impl AsyncPushSender,
    ) -> RedisResult<(PubSub, RedisConnection)> {
        // The server is chosen first: a failed pub/sub connection attempt would report a
        // disconnection to the handler.
        let connection = self.connect().await?;
        let pubsub = connection.open_pubsub(handler).await?;
        Ok((pubsub, connection))
    }

    /// Returns whether this is a Redis Cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster(_))
    }

    /// Returns whether all keys of a user are on one node. In Cluster they share a slot through the
    /// hash tag, which is empty for an id that starts with `}`.
    #[must_use]
    pub fn supports_user(&self, user: &UserId) -> bool {
        !self.is_cluster() || !user.as_str().starts_with('}')
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    #[test]
    fn another_database_requires_another_prefix() {
        let problems = |arguments: &[&str]| {
            let command = RedisSettings::augment_args(clap::Command::new("test"));
            let arguments = ["test"].iter().chain(arguments);
            let matches = command.mut_args(|arg| arg.env(None)).get_matches_from(arguments);
            RedisSettings::from_arg_matches(&matches).unwrap().problems()
        };
        let other = ["--redis-url", "redis://localhost/1"];
        assert!(problems(&[])[..].is_empty());
        assert!(problems(&other)[0].starts_with("REDIS_CHANNEL_PREFIX"));
        assert!(problems(&["--redis-url", "redis+sentinel://a/main/2"])[0].contains("database 2"));
        assert!(problems(&[other[0], other[1], "--redis-channel-prefix", "staging"]).is_empty());
    }

    #[test]
    fn a_prefix_contains_no_pattern_and_no_separator() {
        assert!(prefix("ws").is_ok() && prefix("ws-2.test_1").is_ok());
        for bad in ["", "ws:", "w*", "{ws}", "w s"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
