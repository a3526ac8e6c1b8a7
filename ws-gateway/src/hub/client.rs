//! What the hub keeps of a connection's client for operators. Every connection has it, so it is
//! small.

use std::net::IpAddr;

use crate::{auth, metrics::ClientTransport};

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
    u32::try_from(auth::unix_seconds()).unwrap_or(u32::MAX)
}
