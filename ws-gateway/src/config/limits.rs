//! Settings that bound what clients may use.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use shared::config::{duration, number_up_to, positive_duration};

use crate::{hub::LimitPolicy, server::TrustedProxies};

/// More sockets than a process can open.
const MAX_SOCKETS: usize = 4_000_000_000;

/// Limits for clients.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LimitSettings {
    /// Maximum number of connections of a user
    #[arg(long, env = "WEBSOCKET_MAX_CONNECTIONS_PER_USER", default_value = "5")]
    pub(crate) websocket_max_connections_per_user: NonZeroUsize,
    /// Maximum size of a message from a client, in bytes; a message with a new token may be as
    /// large as `MAX_REQUEST_HEAD`
    #[arg(long, env = "WEBSOCKET_MAX_MESSAGE_SIZE", default_value = "4096")]
    pub(crate) websocket_max_message_size: NonZeroUsize,
    /// Maximum number of frames from a client per second: messages, pings and pongs, each fragment
    /// counted; a client above it is not read until the second is over
    #[arg(long, env = "WEBSOCKET_MAX_MESSAGES_PER_SECOND", default_value = "50")]
    pub(crate) websocket_max_messages_per_second: NonZeroU32,
    /// Which connection is closed when a user exceeds the limit: the new one (`reject`) or the
    /// oldest (`evict_oldest`)
    #[arg(long, env = "CONNECTION_LIMIT_POLICY", default_value = "reject")]
    pub(crate) connection_limit_policy: LimitPolicy,
    /// Maximum number of connections of this process; above it handshakes get 503
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "50000", value_parser = number_up_to(MAX_SOCKETS))]
    pub(crate) max_connections: NonZeroUsize,
    /// Maximum number of connections of one client address or IPv6 /64 network; above it handshakes
    /// get 429. Unset: no limit, as many users may share the address of a school or a proxy
    #[arg(long, env = "MAX_CONNECTIONS_PER_ADDRESS")]
    pub(crate) max_connections_per_address: Option<NonZeroUsize>,
    /// Share of its connections that a gateway closes per second, in percent, while it has more than
    /// 1.2 times as many as the mean of all gateways, so that clients move to emptier ones; 0: none
    #[arg(long, env = "REBALANCE_RATE", default_value = "0.5", value_parser = percentage)]
    pub(crate) rebalance_rate: f64,
    /// Number of connections below which a gateway closes none for this
    #[arg(long, env = "REBALANCE_MIN_CONNECTIONS", default_value = "1000")]
    pub(crate) rebalance_min_connections: u64,
    /// Networks of the proxies whose `X-Forwarded-For` is trusted, for example
    /// `10.0.0.0/8,fd00::/8`; unset: none
    #[arg(long, env = "TRUSTED_PROXIES")]
    pub(crate) trusted_proxies: Option<TrustedProxies>,
    /// Maximum number of handshakes per second; above it they get 503 with Retry-After. A user, or
    /// a client address or network without a good token, that has taken as many of them as are
    /// left gets 429
    #[arg(long, env = "MAX_HANDSHAKES_PER_SECOND", default_value = "1000")]
    pub(crate) max_handshakes_per_second: NonZeroU32,
    /// Maximum number of connections that are not WebSockets yet; above it the oldest is closed
    #[arg(long, env = "MAX_PENDING_CONNECTIONS", default_value = "4096", value_parser = number_up_to(MAX_SOCKETS))]
    pub(crate) max_pending_connections: NonZeroUsize,
    /// Time limit for the TLS handshake and the request of a connection
    #[arg(long, env = "HANDSHAKE_TIMEOUT", default_value = "10s", value_parser = positive_duration)]
    pub(crate) handshake_timeout: Duration,
    /// Maximum size of the head of a request, in bytes, at least 8192; above it requests get 431
    #[arg(long, env = "MAX_REQUEST_HEAD", default_value = "32768", value_parser = request_head)]
    pub(crate) max_request_head: NonZeroUsize,
    /// Maximum length of the query of a request, in bytes; above it requests get 414
    #[arg(long, env = "MAX_QUERY_LENGTH", default_value = "8192")]
    pub(crate) max_query_length: NonZeroUsize,
    /// Maximum number of frames queued for one connection; above it the connection is closed as too
    /// slow
    #[arg(long, env = "OUTBOX_CAPACITY", default_value = "1024")]
    pub(crate) outbox_capacity: NonZeroUsize,
    /// Maximum number of bytes queued for one connection; above it the connection is closed as too
    /// slow
    #[arg(long, env = "OUTBOX_MAX_BYTES", default_value = "1048576")]
    pub(crate) outbox_max_bytes: NonZeroUsize,
    /// Bytes of history that are read at a time for one resuming client
    #[arg(long, env = "RESUME_PAGE_BYTES", default_value = "262144")]
    pub(crate) resume_page_bytes: NonZeroUsize,
    /// Maximum delay of a low-priority notification, so that it can share a write with others
    #[arg(long, env = "LOW_PRIORITY_MAX_DELAY", default_value = "500ms", value_parser = duration)]
    pub(crate) low_priority_max_delay: Duration,
}

/// hyper needs a buffer of 8 KiB; a head above 1 MiB would only cost memory.
fn request_head(text: &str) -> Result<NonZeroUsize, String> {
    let bytes = text.parse().ok().filter(|bytes| (8 << 10..=1 << 20).contains(bytes));
    bytes.and_then(NonZeroUsize::new).ok_or_else(|| "a number of bytes from 8192 to 1048576".into())
}

fn percentage(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "a percentage from 0 to 100".into())
}
