//! The sentinels: which server is the master. What most of them say counts, so that one that
//! was cut off cannot send anybody to a master of the past.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{ConnectionAddr, ErrorKind, RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::sync::Mutex;

use super::{
    server::{RequiredRole, Server, Servers, check, unavailable},
    url::list,
};
use crate::config::Secret;

/// The sentinels of one master.
#[derive(Debug)]
pub(super) struct Sentinels {
    all: Vec<Sentinel>,
    master: String,
    servers: Servers,
}

/// A sentinel and, once it was asked, a connection to it.
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

type Place = (String, u16);

/// What the sentinels say.
struct Verdict {
    /// Where the master is, most votes first.
    places: Vec<Place>,
    /// Whether most of all sentinels said the first.
    agreed: bool,
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

    /// The master, connected.
    ///
    /// # Errors
    /// When the sentinels do not name one that is reachable and a master.
    pub(super) async fn connect(&self) -> RedisResult<(Server, MultiplexedConnection)> {
        let mut problem = None;
        for (host, port) in self.ask().await?.places {
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
                    problem = Some(unavailable("the sentinels' master cannot be used", detail));
                }
                Err(error) => problem = Some(error),
            }
        }
        Err(problem.expect("the sentinels named at least one server"))
    }

    /// Whether most sentinels have another master by now. When too few answer, nothing is known.
    pub(super) async fn have_moved_on_from(&self, address: &ConnectionAddr) -> bool {
        let Ok(Verdict { places, agreed: true }) = self.ask().await else { return false };
        places.into_iter().any(|(host, port)| self.servers.address(host, port) != *address)
    }

    /// Asks all at once until most agree; else all that was said, most votes first.
    async fn ask(&self) -> RedisResult<Verdict> {
        let answers = self.all.iter().map(|sentinel| sentinel.ask(&self.master));
        let mut answers: FuturesUnordered<_> = answers.collect();
        let mut votes: HashMap<Place, usize> = HashMap::new();
        let (mut unknown, mut problem) = (0, None);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some(place)) => {
                    let vote = votes.entry(place.clone()).or_default();
                    *vote += 1;
                    if *vote > self.all.len() / 2 {
                        return Ok(Verdict { places: vec![place], agreed: true });
                    }
                }
                Ok(None) => unknown += 1,
                Err(error) => problem = Some(error),
            }
        }
        let mut places: Vec<(Place, usize)> = votes.into_iter().collect();
        places.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
        if places.is_empty() {
            return Err(self.no_answer(unknown, problem));
        }
        let places = places.into_iter().map(|(place, _)| place).collect();
        Ok(Verdict { places, agreed: false })
    }

    fn no_answer(&self, unknown: usize, problem: Option<RedisError>) -> RedisError {
        if unknown > 0 {
            let detail = format!("{} of REDIS_URL", self.master);
            let what = "the sentinels know no master of this name";
            return (ErrorKind::MasterNameNotFoundBySentinel, what, detail).into();
        }
        match problem {
            Some(error) if is_refusal(&error) => {
                let what = "a sentinel refuses REDIS_SENTINEL_PASSWORD";
                (ErrorKind::AuthenticationFailed, what, error.to_string()).into()
            }
            Some(error) if error.kind() != ErrorKind::Io => error,
            problem => {
                let sentinels = list(self.all.iter().map(|sentinel| &sentinel.address));
                let why = problem.map(|error| error.to_string()).unwrap_or_default();
                unavailable("no sentinel answers", format!("{sentinels}: {why}"))
            }
        }
    }
}

impl Sentinel {
    /// Where the master is; none if this sentinel does not know it.
    async fn ask(&self, master: &str) -> RedisResult<Option<Place>> {
        let mut slot = self.connection.lock().await;
        let mut connection = match &*slot {
            Some(connection) => connection.clone(),
            None => self.server.clone()?.connect().await?,
        };
        *slot = None;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let place = question.query_async(&mut connection).await?;
        *slot = Some(connection);
        Ok(place)
    }
}

fn is_refusal(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}
