//! Opens the byte streams of connections to Redis: over TCP or TLS, or over what a [`Dial`]
//! returns.

use std::{fmt, io, pin::Pin, sync::Arc};

use futures_util::future::BoxFuture;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, RedisResult, aio::MultiplexedConnection,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to a server.
pub trait RedisStream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> RedisStream for S {}

/// A network in which servers are reached without sockets of the operating system.
///
/// An implementation guarantees that a stream carries the bytes of one connection in order, and
/// ends or fails when the connection is lost. An error of `dial` means that the server cannot be
/// reached now; the caller retries.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Opens a stream to the server at `address`.
    fn dial(
        &self,
        address: &ConnectionAddr,
    ) -> BoxFuture<'_, io::Result<Pin<Box<dyn RedisStream>>>>;
}

/// How the servers of a client are reached.
#[derive(Clone, Debug, Default)]
pub(super) enum Network {
    /// Through the operating system, as the URL requires.
    #[default]
    System,
    /// Through another network; the URL selects the address only.
    Other(Arc<dyn Dial>),
}

impl Network {
    pub(super) fn is_system(&self) -> bool {
        matches!(self, Self::System)
    }

    /// Opens a connection to the server of `client`.
    pub(super) async fn connect(
        &self,
        client: &Client,
        config: AsyncConnectionConfig,
        limit: std::time::Duration,
    ) -> RedisResult<MultiplexedConnection> {
        let Self::Other(network) = self else {
            return client.get_multiplexed_async_connection_with_config(&config).await;
        };
        let info = client.get_connection_info();
        let connect = async {
            let stream = network.dial(info.addr()).await?;
            let settings = info.redis_settings();
            MultiplexedConnection::new_with_config(settings, stream, config).await
        };
        let connected = tokio::time::timeout(limit, connect).await;
        let (connection, driver) = connected.map_err(io::Error::from)??;
        // Ends when the last handle of the connection is dropped.
        tokio::spawn(driver);
        Ok(connection)
    }
}
