//! Parsing of `REDIS_URL`: the topology and the addresses of its servers.

use std::{fmt, str::FromStr};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// A parsed `REDIS_URL`. Its `Debug` output contains neither user nor password.
///
/// ```
/// use shared::redis::RedisUrl;
///
/// let url: RedisUrl = "redis://admin:secret@example.org:6380/1".parse()?;
/// assert_eq!(format!("{url:?}"), "example.org:6380");
///
/// let url: RedisUrl = "rediss+sentinel://:secret@s1,s2:26380/main".parse()?;
/// assert_eq!(format!("{url:?}"), "main via sentinels s1:26379, s2:26380");
///
/// let url: RedisUrl = "redis+cluster://n1:6379,n2:6379".parse()?;
/// assert_eq!(format!("{url:?}"), "cluster n1:6379, n2:6379");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone)]
pub struct RedisUrl(Endpoints);

/// The addresses that a URL names, by topology.
#[derive(Clone)]
pub(super) enum Endpoints {
    /// One server, or a proxy in front of it.
    Standalone(ConnectionInfo),
    /// A master that the sentinels name.
    Sentinel {
        sentinels: Vec<ConnectionAddr>,
        master: String,
        /// Database and credentials of the master; its address comes from the sentinels.
        server: ConnectionInfo,
    },
    /// A cluster, of which at least one node is known.
    Cluster { seeds: Vec<ConnectionInfo> },
}

const STANDALONE: &str = "not a URL like redis://host:6379 or rediss://:password@host:6380/0, or redis+sentinel, \
     redis+cluster";
const SENTINEL: &str =
    "not a URL like redis+sentinel://:password@host:26379,host:26379/master-name/0";
const CLUSTER: &str = "not a URL like redis+cluster://:password@host:6379,host:6379";

impl RedisUrl {
    /// Returns the number of the selected database.
    pub(super) fn database(&self) -> i64 {
        match &self.0 {
            Endpoints::Standalone(server) | Endpoints::Sentinel { server, .. } => {
                server.redis_settings().db()
            }
            Endpoints::Cluster { .. } => 0,
        }
    }

    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.0
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    // Errors are fixed texts: those of the redis crate may quote the URL, and with it a password.
    fn from_str(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let scheme =
            |suffix| scheme.strip_suffix(suffix).filter(|s| ["redis", "rediss"].contains(s));
        if let Some(scheme) = scheme("+sentinel") {
            return sentinel(scheme, rest).map(Self).ok_or_else(|| SENTINEL.into());
        }
        if let Some(scheme) = scheme("+cluster") {
            return cluster(scheme, rest).map(Self).ok_or_else(|| CLUSTER.into());
        }
        // The redis crate would ignore a database that is named there.
        let ignores_a_part = rest.contains('?')
            || rest.split_once('#').is_some_and(|(_, fragment)| fragment != "insecure");
        if scheme("").is_some() && ignores_a_part {
            return Err(STANDALONE.into());
        }
        let info = url.into_connection_info();
        info.map(|info| Self(Endpoints::Standalone(info))).map_err(|_| STANDALONE.into())
    }
}

fn sentinel(scheme: &str, rest: &str) -> Option<Endpoints> {
    let (authority, path) = rest.split_once('/')?;
    let (master, db) = path.split_once('/').unwrap_or((path, "0"));
    let valid = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if master.is_empty() || !master.chars().all(valid) {
        return None;
    }
    let servers = servers(scheme, authority, 26379, db)?;
    let sentinels = servers.iter().map(|server| server.addr().clone()).collect();
    let server = servers.into_iter().next()?;
    Some(Endpoints::Sentinel { sentinels, master: master.to_owned(), server })
}

fn cluster(scheme: &str, rest: &str) -> Option<Endpoints> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('/') {
        // Redis Cluster has no numbered databases.
        return None;
    }
    Some(Endpoints::Cluster { seeds: servers(scheme, authority, 6379, "0")? })
}

/// Parses `[user:password@]host[:port],...`; `None` if any host is invalid.
fn servers(scheme: &str, authority: &str, port: u16, db: &str) -> Option<Vec<ConnectionInfo>> {
    let db: u32 = db.parse().ok()?;
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
        None => (String::new(), authority),
    };
    let server = |host: &str| {
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let host = if has_port { host.to_owned() } else { format!("{host}:{port}") };
        let is_plain = !host.starts_with(':') && !host.contains(['/', '?', '#', '@']);
        let url = format!("{scheme}://{credentials}{host}/{db}");
        is_plain.then(|| url.into_connection_info().ok()).flatten()
    };
    hosts.split(',').map(server).collect()
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Endpoints::Standalone(server) => write!(f, "{}", server.addr()),
            Endpoints::Sentinel { sentinels, master, .. } => {
                write!(f, "{master} via sentinels {}", join(sentinels.iter()))
            }
            Endpoints::Cluster { seeds } => {
                write!(f, "cluster {}", join(seeds.iter().map(ConnectionInfo::addr)))
            }
        }
    }
}

/// Joins addresses with commas.
pub(super) fn join<'a>(addresses: impl Iterator<Item = &'a ConnectionAddr>) -> String {
    addresses.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debug(url: &str) -> String {
        format!("{:?}", url.parse::<RedisUrl>().unwrap())
    }

    #[test]
    fn the_debug_output_contains_no_credentials() {
        assert_eq!(debug("redis://admin:hunter2@example.org:6380/1"), "example.org:6380");
        assert_eq!(
            debug("rediss+sentinel://admin:hunter2@a,b:5,[::1]/main/2"),
            "main via sentinels a:26379, b:5, ::1:26379"
        );
        assert_eq!(debug("redis+cluster://:hunter2@a,b:5/"), "cluster a:6379, b:5");
        for url in ["redix://:hunter2@", "redis+sentinel://:hunter2@a", "redis+cluster://:hunter2@"]
        {
            let error = url.parse::<RedisUrl>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn credentials_and_database_apply_to_the_master() {
        let url: RedisUrl = "rediss+sentinel://me:p%40ss@a,b/main/2".parse().unwrap();
        let Endpoints::Sentinel { sentinels, master, server } = url.endpoints() else {
            panic!("not a sentinel URL");
        };
        assert_eq!((sentinels.len(), master.as_str()), (2, "main"));
        let settings = server.redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("me"), Some("p@ss")));
        assert_eq!(settings.db(), 2);
        assert!(matches!(sentinels[1], ConnectionAddr::TcpTls { insecure: false, .. }));
    }

    #[test]
    fn incomplete_and_malformed_urls_are_rejected() {
        for url in [
            "redis+sentinel://a:1,b:2",
            "redis+sentinel://a:1/",
            "redis+sentinel:///main",
            "redis+sentinel://a:1,,b:2/main",
            "redis+sentinel://a:1/main/x",
            "redis+sentinel://a:1/main?x",
            "redis+sentinel://a:x/main",
            "redis+cluster://",
            "redis+cluster://a,b/1",
            "http+cluster://a",
            "localhost:6379",
            "redis://a/?db=1",
            "redis://a?db=1",
            "rediss://a/0#1",
        ] {
            assert!(url.parse::<RedisUrl>().is_err(), "{url}");
        }
    }
}
