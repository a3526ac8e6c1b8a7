//! How much clients may take.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use shared::config::{duration, positive_duration};

use crate::{hub::LimitPolicy, server::Networks};

/// How much clients may take.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitSettings {
    /// Most connections of one user
    #[arg(long, env = "WEBSOCKET_MAX_CONNECTIONS_PER_USER", default_value = "5")]
    pub websocket_max_connections_per_user: NonZeroUsize,
    /// Largest message of a client, in bytes
    #[arg(long, env = "WEBSOCKET_MAX_MESSAGE_SIZE", default_value = "4096")]
    pub websocket_max_message_size: NonZeroUsize,
    /// Most messages and pings of a client in a second; beyond them it is not read until the second is over
    #[arg(long, env = "WEBSOCKET_MAX_MESSAGES_PER_SECOND", default_value = "50")]
    pub websocket_max_messages_per_second: NonZeroU32,
    /// Which connection goes when a user has too many
    #[arg(long, env = "CONNECTION_LIMIT_POLICY", default_value = "reject")]
    pub connection_limit_policy: LimitPolicy,
    /// Most WebSockets of this process; above, clients get 503
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "50000")]
    pub max_connections: NonZeroUsize,
    /// Most WebSockets of one address, or of one IPv6 network of 64 bits; above, clients get 429. Unset: no limit, as a school or a proxy has many users behind one address
    #[arg(long, env = "MAX_CONNECTIONS_PER_ADDRESS")]
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// Networks of proxies whose `X-Forwarded-For` is believed, as in `10.0.0.0/8,fd00::/8`; unset: nobody's
    #[arg(long, env = "TRUSTED_PROXIES")]
    pub trusted_proxies: Option<Networks>,
    /// Most WebSocket handshakes a second; above, clients get 503 with Retry-After
    #[arg(long, env = "MAX_HANDSHAKES_PER_SECOND", default_value = "1000")]
    pub max_handshakes_per_second: NonZeroU32,
    /// Most connections that are no WebSockets yet; above, the one that has taken longest is dropped
    #[arg(long, env = "MAX_PENDING_CONNECTIONS", default_value = "4096")]
    pub max_pending_connections: NonZeroUsize,
    /// Longest wait for a client to complete its request
    #[arg(long, env = "HANDSHAKE_TIMEOUT", default_value = "10s", value_parser = positive_duration)]
    pub handshake_timeout: Duration,
    /// Largest head of a request, in bytes, from 8192; above, clients get 431
    #[arg(long, env = "MAX_REQUEST_HEAD", default_value = "16384", value_parser = head)]
    pub max_request_head: usize,
    /// Longest query of a request, in bytes; above, clients get 414
    #[arg(long, env = "MAX_QUERY_LENGTH", default_value = "8192")]
    pub max_query_length: usize,
    /// Most frames that wait for one client; above, it is disconnected as too slow
    #[arg(long, env = "OUTBOX_CAPACITY", default_value = "1024")]
    pub outbox_capacity: NonZeroUsize,
    /// Longest wait of a low-priority notification to share a write with others
    #[arg(long, env = "LOW_PRIORITY_MAX_DELAY", default_value = "500ms", value_parser = duration)]
    pub low_priority_max_delay: Duration,
}

/// The HTTP parser works with no smaller buffer, and memory is not to be had by a header.
fn head(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (8 << 10..=1 << 20).contains(&bytes) => Ok(bytes),
        _ => Err("a number of bytes from 8192 to 1048576".into()),
    }
}
