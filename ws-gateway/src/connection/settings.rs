//! The settings of connections.

use std::{num::NonZeroU32, time::Duration};

use shared::trace::Tracer;

use crate::{auth::Authenticator, metrics::Metrics};

/// What all connections share.
#[derive(Debug)]
pub struct ConnectionSettings {
    /// The interval between pings.
    pub ping_interval: Duration,
    /// How long a client may neither answer pings nor send.
    pub keepalive_timeout: Duration,
    /// How long a connection outlives its token.
    pub expiry_grace: Duration,
    /// Largest message of a client that is not a new token, in bytes.
    pub max_message_size: usize,
    /// Most frames of a client in a second: messages, pings and pongs, each fragment counted.
    pub max_messages_per_second: NonZeroU32,
    /// The time over which connections are closed at shutdown.
    pub drain_window: Duration,
    /// Checks the new tokens of live connections.
    pub authenticator: Authenticator,
    /// The metrics of the gateway.
    pub metrics: Metrics,
    /// Present if deliveries are traced.
    pub tracer: Option<Tracer>,
}
