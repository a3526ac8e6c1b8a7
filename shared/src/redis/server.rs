//! Connections to one server, and the check that it has the required role.

use std::{collections::HashMap, time::Duration};

use deadpool_redis::{Manager, Pool, PoolError, Runtime};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult, Value,
    aio::{AsyncPushSender, MultiplexedConnection},
    io::tcp::TcpSettings,
};

use super::dial::Network;
use crate::config::Secret;

/// Settings for servers that differ only in their address.
#[derive(Clone)]
pub(super) struct Servers {
    info: ConnectionInfo,
    limits: Limits,
    network: Network,
}

/// Time-outs, and the size of the connection pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) response: Duration,
    pub(super) pool_size: usize,
}

impl Limits {
    fn config(self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect))
            .set_response_timeout(Some(self.response))
            .set_pipeline_buffer_size(1024)
            .set_write_backpressure_boundary(256 << 10)
    }
}

/// A server to connect to.
#[derive(Clone, Debug)]
pub(super) struct Server {
    client: Client,
    limits: Limits,
    network: Network,
}

impl Servers {
    pub(super) fn new(info: ConnectionInfo, limits: Limits, network: Network) -> RedisResult<Self> {
        // Nagle's algorithm is on by default and would delay small writes.
        let protocol = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info
            .set_redis_settings(protocol)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let servers = Self { info, limits, network };
        servers.configured()?;
        Ok(servers)
    }

    /// Returns the server at the configured address.
    pub(super) fn configured(&self) -> RedisResult<Server> {
        self.at(self.info.addr().clone())
    }

    /// Returns the server at `address`.
    pub(super) fn at(&self, address: ConnectionAddr) -> RedisResult<Server> {
        let client = Client::open(self.info.clone().set_addr(address))?;
        Ok(Server { client, limits: self.limits, network: self.network.clone() })
    }

    /// Returns an address with the same TLS settings as the configured one.
    pub(super) fn address(&self, host: String, port: u16) -> ConnectionAddr {
        match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        }
    }

    /// Returns a sentinel, which has no databases and a password of its own.
    pub(super) fn sentinel(
        &self,
        address: ConnectionAddr,
        password: Option<&Secret>,
    ) -> RedisResult<Server> {
        let settings = password.map_or_else(RedisConnectionInfo::default, |password| {
            RedisConnectionInfo::default().set_password(password.expose())
        });
        let info = address.into_connection_info()?.set_redis_settings(settings);
        let client = Client::open(info)?;
        Ok(Server { client, limits: self.limits, network: self.network.clone() })
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.info.addr())
    }
}

impl Server {
    pub(super) fn address(&self) -> &ConnectionAddr {
        self.client.get_connection_info().addr()
    }

    pub(super) async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        self.open(self.limits.config()).await
    }

    pub(super) async fn connect_with_pubsub(
        &self,
        handler: impl AsyncPushSender,
    ) -> RedisResult<MultiplexedConnection> {
        self.open(self.limits.config().set_push_sender(handler)).await
    }

    async fn open(&self, config: AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        self.network.connect(&self.client, config, self.limits.connect).await
    }

    /// Creates a pool of connections that are opened on demand; none in a network that is not the
    /// system's.
    pub(super) fn pool(&self) -> RedisResult<Option<Pool>> {
        if !self.network.is_system() {
            return Ok(None);
        }
        let Limits { connect, response, pool_size } = self.limits;
        let info = self.client.get_connection_info().clone();
        let manager = Manager::new_with_config(info, self.limits.config())?;
        let pool = Pool::builder(manager)
            .max_size(pool_size)
            .wait_timeout(Some(response))
            .create_timeout(Some(connect))
            .recycle_timeout(Some(response))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with time-outs has a runtime");
        Ok(Some(pool))
    }
}

/// Takes a connection from a pool, which pings it first.
///
/// # Errors
/// If none becomes free, or none can be opened, in time.
pub(super) async fn pooled(pool: &Pool) -> RedisResult<deadpool_redis::Connection> {
    // Boxed: opening a connection needs a large future.
    Box::pin(pool.get()).await.map_err(|error| match error {
        PoolError::Backend(error) => error,
        other => unavailable("no pooled connection available", other.to_string()),
    })
}

/// The role that a server must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequiredRole {
    /// Any role.
    Any,
    /// Master: what is written goes to no other one.
    Master,
}

/// Checks that the server responds and has the required role.
///
/// # Errors
/// If it does not respond, or is a replica.
pub(super) async fn check(
    connection: &mut MultiplexedConnection,
    required: RequiredRole,
) -> RedisResult<()> {
    // A server that is loading, or requires a password, still accepts connections. One that cannot
    // persist refuses `PING` together with writes, and serves everything else.
    match redis::cmd("PING").query_async::<()>(connection).await {
        Err(error) if error.code() == Some("MISCONF") => {}
        answer => answer?,
    }
    match required {
        RequiredRole::Any => Ok(()),
        RequiredRole::Master => expect_master(role().query_async(connection).await?),
    }
}

/// Returns the command whose reply [`is_master`] takes. It reports the role like `ROLE`, and no ACL
/// can deny it.
pub(super) fn role() -> Cmd {
    redis::cmd("HELLO")
}

/// Returns whether the server is a master, from the reply to [`role`].
///
/// # Errors
/// If it is no such reply.
pub(super) fn is_master(reply: Value) -> RedisResult<bool> {
    let hello: HashMap<String, Value> = redis::from_redis_value(reply)?;
    let role: Option<String> = hello.get("role").and_then(|r| redis::from_redis_value_ref(r).ok());
    Ok(!matches!(role.as_deref(), Some("replica" | "slave")))
}

/// Takes the reply to [`role`].
///
/// # Errors
/// If the server is a replica.
pub(super) fn expect_master(reply: Value) -> RedisResult<()> {
    let error = || unavailable("the server is not a master", String::new());
    if is_master(reply)? { Ok(()) } else { Err(error()) }
}

/// From where a server has its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replication {
    /// From its clients.
    Master,
    /// From a master to which it is connected, or not.
    Replica { is_connected: bool },
}

impl Replication {
    /// Asks a server. A replica that denies it to the user counts as connected.
    ///
    /// # Errors
    /// If the server does not respond.
    pub(super) async fn of(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        if is_master(role().query_async(connection).await?)? {
            return Ok(Self::Master);
        }
        match redis::cmd("ROLE").query_async::<Vec<Value>>(connection).await {
            Ok(reply) => Ok(Self::Replica { is_connected: is_connected(&reply) }),
            Err(error) if error.code().is_some() => Ok(Self::Replica { is_connected: true }),
            Err(error) => Err(error),
        }
    }
}

/// Returns whether a replica receives what its master is sent, from its reply to `ROLE`.
fn is_connected(reply: &[Value]) -> bool {
    let state = reply.get(3).and_then(|state| redis::from_redis_value_ref::<String>(state).ok());
    state.is_none_or(|state| state == "connected")
}

/// Returns an error for a server or topology that is currently unusable; connecting again may help.
pub(super) fn unavailable(what: &'static str, detail: String) -> RedisError {
    (ErrorKind::Io, what, detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_it_is_a_replica_is_not_a_master() {
        let hello = |role: &str| {
            let pair = |key: &str, value: &str| {
                (Value::BulkString(key.into()), Value::BulkString(value.into()))
            };
            Value::Map(vec![pair("server", "redis"), pair("role", role)])
        };
        for role in ["replica", "slave"] {
            assert!(expect_master(hello(role)).is_err(), "{role}");
        }
        // One that replicates and accepts writes as well is a master.
        for role in ["master", "active-replica"] {
            assert!(expect_master(hello(role)).is_ok(), "{role}");
        }
    }

    #[test]
    fn a_replica_receives_what_its_master_is_sent_only_while_it_is_connected() {
        let role = |state: &str| {
            ["slave", "127.0.0.1", "6379", state].map(|word| Value::BulkString(word.into()))
        };
        for state in ["connect", "connecting", "handshake", "sync"] {
            assert!(!is_connected(&role(state)), "{state}");
        }
        assert!(is_connected(&role("connected")));
    }
}
