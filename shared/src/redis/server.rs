//! One server: opening a connection to it, and whether it is what it should be.

use std::collections::HashMap;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult, Value,
    aio::{AsyncPushSender, MultiplexedConnection},
    io::tcp::TcpSettings,
};

use crate::config::Secret;

/// Opens connections to servers that differ by their address alone.
#[derive(Clone)]
pub(super) struct Servers {
    info: ConnectionInfo,
    config: AsyncConnectionConfig,
}

/// A server that may be connected to.
#[derive(Clone, Debug)]
pub(super) struct Server {
    client: Client,
    config: AsyncConnectionConfig,
}

impl Servers {
    pub(super) fn new(info: ConnectionInfo, config: AsyncConnectionConfig) -> RedisResult<Self> {
        // Redis leaves the Nagle algorithm to its clients, and theirs is on by default.
        let protocol = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info
            .set_redis_settings(protocol)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let servers = Self { info, config };
        servers.given()?;
        Ok(servers)
    }

    /// The one whose address was given.
    pub(super) fn given(&self) -> RedisResult<Server> {
        self.at(self.info.addr().clone())
    }

    /// The one at another address.
    pub(super) fn at(&self, address: ConnectionAddr) -> RedisResult<Server> {
        let client = Client::open(self.info.clone().set_addr(address))?;
        Ok(Server { client, config: self.config.clone() })
    }

    /// An address with as much encryption as the given one.
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

    /// A sentinel: it has no databases, and a password of its own.
    pub(super) fn sentinel(
        &self,
        address: ConnectionAddr,
        password: Option<&Secret>,
    ) -> RedisResult<Server> {
        let settings = password.map_or_else(RedisConnectionInfo::default, |password| {
            RedisConnectionInfo::default().set_password(password.expose())
        });
        let info = address.into_connection_info()?.set_redis_settings(settings);
        Ok(Server { client: Client::open(info)?, config: self.config.clone() })
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
        self.client.get_multiplexed_async_connection_with_config(&self.config).await
    }

    pub(super) async fn connect_with_pushes(
        &self,
        receiver: impl AsyncPushSender,
    ) -> RedisResult<MultiplexedConnection> {
        let config = self.config.clone().set_push_sender(receiver);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// What a server has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Whatever it is.
    Any,
    /// A master: others do not take what is written.
    Master,
}

/// Asks for a sign of life, and whether the server still plays its part.
///
/// # Errors
/// When it does not answer, or is a replica.
pub(super) async fn check(connection: &mut MultiplexedConnection, part: Part) -> RedisResult<()> {
    // A server that is loading, or wants a password, accepts connections all the same.
    let () = redis::cmd("PING").query_async::<()>(connection).await?;
    if part == Part::Any {
        return Ok(());
    }
    // Says the same as ROLE, and needs no permission.
    let hello: HashMap<String, Value> = redis::cmd("HELLO").query_async(connection).await?;
    match hello.get("role") {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        Some(Value::SimpleString(role)) if role == "master" => Ok(()),
        _ => Err(unusable("the server is no longer the master", String::new())),
    }
}

/// A server or a topology that cannot be used as it is.
pub(super) fn unusable(what: &'static str, detail: String) -> RedisError {
    (ErrorKind::Io, what, detail).into()
}
