//! Redis Sentinel: discovery of the master by majority vote, so that a sentinel cut off by a
//! network partition cannot direct writes to a former master.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{ConnectionAddr, ErrorKind, RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::sync::Mutex;

use super::{
    server::{RequiredRole, Server, Servers, check, unavailable},
    url::join,
};
use crate::config::Secret;

/// The sentinels of one master.
#[derive(Debug)]
pub(super) struct Sentinels {
    all: Vec<Sentinel>,
    master: String,
    servers: Servers,
}

/// A sentinel, with a connection that is kept between queries.
struct Sentinel {
    address: ConnectionAddr,
    server: RedisResult<Server>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl std::fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.address)
    }
}

/// Host and port.
type Address = (String, u16);

/// The outcome of a vote of the sentinels.
struct Vote {
    /// Named master addresses, most votes first.
    candidates: Vec<Address>,
    /// Whether a majority of all configured sentinels named the first.
    has_majority: bool,
}

impl Sentinels {
    pub(super) fn new(
        addresses: Vec<ConnectionAddr>,
        master: String,
        password: Option<&Secret>,
        servers: Servers,
    ) -> Self {
        let sentinel = |address: ConnectionAddr| {
            let server = servers.sentinel(address.clone(), password);
            Sentinel { address, server, connection: Mutex::default() }
        };
        Self { all: addresses.into_iter().map(sentinel).collect(), master, servers }
    }

    /// Connects to the master.
    ///
    /// # Errors
    /// If the sentinels name no server that is reachable and a master.
    pub(super) async fn connect(&self) -> RedisResult<(Server, MultiplexedConnection)> {
        let mut last_error = None;
        for (host, port) in self.vote().await?.candidates {
            let server = self.servers.at(self.servers.address(host, port))?;
            let connected = async {
                let mut connection = server.connect().await?;
                check(&mut connection, RequiredRole::Master).await?;
                RedisResult::Ok(connection)
            };
            match connected.await {
                Ok(connection) => return Ok((server, connection)),
                Err(error) if error.kind() == ErrorKind::Io => {
                    let detail = format!("{} at {}: {error}", self.master, server.address());
                    last_error = Some(unavailable(
                        "cannot connect to the master that sentinels name",
                        detail,
                    ));
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.expect("a vote has at least one candidate"))
    }

    /// Returns whether a majority names a master other than `address`; `false` without a majority.
    pub(super) async fn name_another_master_than(&self, address: &ConnectionAddr) -> bool {
        let Ok(Vote { candidates, has_majority: true }) = self.vote().await else { return false };
        candidates.into_iter().any(|(host, port)| self.servers.address(host, port) != *address)
    }

    /// Queries all sentinels concurrently until a majority agrees or all have responded.
    async fn vote(&self) -> RedisResult<Vote> {
        let queries = self.all.iter().map(|sentinel| sentinel.master_address(&self.master));
        let mut queries: FuturesUnordered<_> = queries.collect();
        let mut votes: HashMap<Address, usize> = HashMap::new();
        let (mut unknown, mut last_error) = (0, None);
        while let Some(response) = queries.next().await {
            match response {
                Ok(Some(address)) => {
                    let count = votes.entry(address.clone()).or_default();
                    *count += 1;
                    if *count > self.all.len() / 2 {
                        return Ok(Vote { candidates: vec![address], has_majority: true });
                    }
                }
                Ok(None) => unknown += 1,
                Err(error) => last_error = Some(error),
            }
        }
        if votes.is_empty() {
            return Err(self.no_candidate(unknown, last_error));
        }
        let mut votes: Vec<(Address, usize)> = votes.into_iter().collect();
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let candidates = votes.into_iter().map(|(address, _)| address).collect();
        Ok(Vote { candidates, has_majority: false })
    }

    fn no_candidate(&self, unknown: usize, last_error: Option<RedisError>) -> RedisError {
        if unknown > 0 {
            let detail = format!("{} in REDIS_URL", self.master);
            let what = "no sentinel knows a master of this name";
            return (ErrorKind::MasterNameNotFoundBySentinel, what, detail).into();
        }
        match last_error {
            Some(error) if is_auth_error(&error) => {
                let what = "a sentinel rejects REDIS_SENTINEL_PASSWORD";
                (ErrorKind::AuthenticationFailed, what, error.to_string()).into()
            }
            Some(error) if error.kind() != ErrorKind::Io => error,
            last_error => {
                let sentinels = join(self.all.iter().map(|sentinel| &sentinel.address));
                let cause = last_error.map(|error| error.to_string()).unwrap_or_default();
                unavailable("no sentinel responds", format!("{sentinels}: {cause}"))
            }
        }
    }
}

impl Sentinel {
    /// Returns the address of the master; `None` if this sentinel does not monitor it.
    async fn master_address(&self, master: &str) -> RedisResult<Option<Address>> {
        let mut slot = self.connection.lock().await;
        let mut connection = match &*slot {
            Some(connection) => connection.clone(),
            None => self.server.clone()?.connect().await?,
        };
        *slot = None;
        let mut query = redis::cmd("SENTINEL");
        query.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let address = query.query_async(&mut connection).await?;
        *slot = Some(connection);
        Ok(address)
    }
}

fn is_auth_error(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}
