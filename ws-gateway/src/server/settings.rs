//! What the server is built with.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::client_address::TrustedProxies;
use crate::auth::Origins;

/// Limits and identity of the public port.
#[derive(Clone, Debug)]
pub(crate) struct ServerSettings {
    /// The name of the service in health responses.
    pub(crate) service: String,
    /// The environment in health responses.
    pub(crate) environment: String,
    /// Maximum number of connections of a user, for health responses; the hub enforces it.
    pub(crate) max_connections_per_user: NonZeroUsize,
    /// The browser origins that may connect; `None`: any.
    pub(crate) origins: Option<Origins>,
    /// Buffer and message sizes of a WebSocket.
    pub(crate) socket: WebSocketConfig,
    /// The time limit from accepting a connection to the end of its handshake.
    pub(crate) handshake_timeout: Duration,
    /// Largest request head, in bytes.
    pub(crate) max_request_head: NonZeroUsize,
    /// Longest query of a request, in bytes.
    pub(crate) max_query_length: NonZeroUsize,
    /// Most WebSocket handshakes a second.
    pub(crate) max_handshakes_per_second: NonZeroU32,
    /// Most connections that are not WebSockets yet.
    pub(crate) max_pending_connections: NonZeroUsize,
    /// Most WebSockets.
    pub(crate) max_connections: NonZeroUsize,
    /// Most WebSockets of one client address; `None`: no limit.
    pub(crate) max_connections_per_address: Option<NonZeroUsize>,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub(crate) trusted_proxies: TrustedProxies,
}
