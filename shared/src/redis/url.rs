//! `REDIS_URL`: which topology, and where its servers are. Never printed with user or password.

use std::{fmt, str::FromStr};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// The address of Redis. Printed without user and password.
#[derive(Clone)]
pub struct RedisUrl(Topology);

/// How the servers belong together.
#[derive(Clone)]
pub(super) enum Topology {
    /// One server, or what stands for one.
    Standalone(ConnectionInfo),
    /// A master that sentinels choose.
    Sentinel {
        sentinels: Vec<ConnectionAddr>,
        master: String,
        /// Database and credentials of the master; its address is what the sentinels say.
        server: ConnectionInfo,
    },
    /// Masters that share the keys; these are some of their nodes.
    Cluster { seeds: Vec<ConnectionInfo> },
}

const STANDALONE: &str = "not a URL like redis://host:6379 or rediss://:password@host:6380/0, or redis+sentinel, \
     redis+cluster";
const SENTINEL: &str =
    "not a URL like redis+sentinel://:password@host:26379,host:26379/master-name/0";
const CLUSTER: &str = "not a URL like redis+cluster://:password@host:6379,host:6379";

impl RedisUrl {
    pub(super) fn topology(&self) -> &Topology {
        &self.0
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    // What the library's parser says could quote the URL, and with it a password.
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
        let info = url.into_connection_info();
        info.map(|info| Self(Topology::Standalone(info))).map_err(|_| STANDALONE.into())
    }
}

fn sentinel(scheme: &str, rest: &str) -> Option<Topology> {
    let (authority, path) = rest.split_once('/')?;
    let (master, db) = path.split_once('/').unwrap_or((path, "0"));
    let valid = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if master.is_empty() || !master.chars().all(valid) {
        return None;
    }
    let servers = servers(scheme, authority, 26379, db)?;
    let sentinels = servers.iter().map(|server| server.addr().clone()).collect();
    let server = servers.into_iter().next()?;
    Some(Topology::Sentinel { sentinels, master: master.to_owned(), server })
}

fn cluster(scheme: &str, rest: &str) -> Option<Topology> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('/') {
        // A cluster has no numbered databases.
        return None;
    }
    Some(Topology::Cluster { seeds: servers(scheme, authority, 6379, "0")? })
}

/// One for each host of `[user:password@]host[:port],...`; none if any of them is wrong.
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
            Topology::Standalone(server) => write!(f, "{}", server.addr()),
            Topology::Sentinel { sentinels, master, .. } => {
                write!(f, "{master} of the sentinels {}", list(sentinels.iter()))
            }
            Topology::Cluster { seeds } => {
                write!(f, "the cluster of {}", list(seeds.iter().map(ConnectionInfo::addr)))
            }
        }
    }
}

/// Addresses, separated by commas.
pub(super) fn list<'a>(addresses: impl Iterator<Item = &'a ConnectionAddr>) -> String {
    addresses.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(url: &str) -> String {
        format!("{:?}", url.parse::<RedisUrl>().unwrap())
    }

    #[test]
    fn a_url_is_printed_without_its_password() {
        assert_eq!(printed("redis://admin:hunter2@example.org:6380/1"), "example.org:6380");
        assert_eq!(
            printed("rediss+sentinel://admin:hunter2@a,b:5,[::1]/main/2"),
            "main of the sentinels a:26379, b:5, ::1:26379"
        );
        assert_eq!(printed("redis+cluster://:hunter2@a,b:5/"), "the cluster of a:6379, b:5");
        for url in ["redix://:hunter2@", "redis+sentinel://:hunter2@a", "redis+cluster://:hunter2@"]
        {
            let error = url.parse::<RedisUrl>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn credentials_and_database_are_those_of_the_master() {
        let url: RedisUrl = "rediss+sentinel://me:p%40ss@a,b/main/2".parse().unwrap();
        let Topology::Sentinel { sentinels, master, server } = url.topology() else {
            panic!("it names sentinels");
        };
        assert_eq!((sentinels.len(), master.as_str()), (2, "main"));
        let settings = server.redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("me"), Some("p@ss")));
        assert_eq!(settings.db(), 2);
        assert!(matches!(sentinels[1], ConnectionAddr::TcpTls { insecure: false, .. }));
    }

    #[test]
    fn a_url_that_misses_something_is_refused() {
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
        ] {
            assert!(url.parse::<RedisUrl>().is_err(), "{url}");
        }
    }
}
