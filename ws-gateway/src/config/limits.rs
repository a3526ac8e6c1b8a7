//! How much clients may take.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::ValueEnum;
use shared::config::{duration, positive_duration};

/// How much clients may take.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitSettings {
    /// Most connections of one user
    #[arg(long, env = "WEBSOCKET_MAX_CONNECTIONS_PER_USER", default_value = "5")]
    pub websocket_max_connections_per_user: NonZeroUsize,
    /// Largest message of a client, in bytes
    #[arg(long, env = "WEBSOCKET_MAX_MESSAGE_SIZE", default_value = "4096")]
    pub websocket_max_message_size: NonZeroUsize,
    /// Which connection goes when a user has too many
    #[arg(long, env = "CONNECTION_LIMIT_POLICY", default_value = "reject")]
    pub connection_limit_policy: LimitPolicy,
    /// Most WebSockets of this process; above, clients get 503
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "50000")]
    pub max_connections: NonZeroUsize,
    /// Most WebSocket handshakes a second; above, clients get 503 with Retry-After
    #[arg(long, env = "MAX_HANDSHAKES_PER_SECOND", default_value = "1000")]
    pub max_handshakes_per_second: NonZeroU32,
    /// Longest wait for a client to complete its request
    #[arg(long, env = "HANDSHAKE_TIMEOUT", default_value = "10s", value_parser = positive_duration)]
    pub handshake_timeout: Duration,
    /// Most frames that wait for one client; above, it is disconnected as too slow
    #[arg(long, env = "OUTBOX_CAPACITY", default_value = "1024")]
    pub outbox_capacity: NonZeroUsize,
    /// Longest wait of a low-priority notification to share a write with others
    #[arg(long, env = "LOW_PRIORITY_MAX_DELAY", default_value = "500ms", value_parser = duration)]
    pub low_priority_max_delay: Duration,
}

/// Which connection goes when a user has too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum LimitPolicy {
    /// The newest is refused.
    Reject,
    /// The oldest is closed.
    EvictOldest,
}
