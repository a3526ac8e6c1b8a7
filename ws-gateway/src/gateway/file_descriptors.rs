//! Raises the limit on open files: every connection takes a file descriptor, and container
//! runtimes start processes with a soft limit of 1,024.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// File descriptors for everything but clients: Redis, the issuer, probes, files, the runtime.
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard limit, and warns if that is too low for the connections that
/// the settings allow.
pub(super) fn raise_limit(max_connections: NonZeroUsize, max_pending: NonZeroUsize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, soft_limit = current, hard_limit = maximum, "raising the limit on open files failed");
    }
    let limit = getrlimit(Resource::Nofile).current;
    let needed = needed(max_connections, max_pending);
    match limit {
        Some(limit) if limit < needed => warn!(
            limit,
            needed,
            "the limit on open files is lower than MAX_CONNECTIONS and MAX_PENDING_CONNECTIONS need"
        ),
        limit => info!(limit, needed, "the limit on open files is sufficient"),
    }
}

fn needed(max_connections: NonZeroUsize, max_pending: NonZeroUsize) -> u64 {
    let clients = max_connections.get().saturating_add(max_pending.get());
    u64::try_from(clients).unwrap_or(u64::MAX).saturating_add(RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_limit() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let lower = maximum.map_or(1024, |maximum| maximum.min(1024));
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), maximum }).unwrap();
        raise_limit(NonZeroUsize::MIN, NonZeroUsize::MIN);
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }

    #[test]
    fn every_connection_and_the_gateway_itself_need_a_file_descriptor() {
        let (connections, pending) = (NonZeroUsize::new(100), NonZeroUsize::new(10));
        assert_eq!(needed(connections.unwrap(), pending.unwrap()), 174);
        assert_eq!(needed(NonZeroUsize::MAX, NonZeroUsize::MAX), u64::MAX);
    }
}
