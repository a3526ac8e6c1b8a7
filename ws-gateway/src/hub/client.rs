//! What the hub keeps of a connection's client for operators. Every connection has it, so it is
//! small.

use std::{net::IpAddr, time::SystemTime};

use crate::metrics::ClientTransport;

/// The client of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// Its address.
    pub(crate) address: IpAddr,
    /// What carries the frames.
    pub(crate) transport: ClientTransport,
}

/// Returns the present time in Unix seconds: a quarter of the size of an `Instant`.
pub(super) fn unix_seconds() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}
