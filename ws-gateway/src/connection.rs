//! One WebSocket connection, run by one task until there is a reason to close it. Client input
//! never stops delivery, except for protocol errors.

mod close;
mod frame_limiter;
mod latency;
mod phase_gauge;
mod reader;
mod select_loop;
mod timers;
mod wire;
mod writer;

use std::{num::NonZeroU32, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use shared::trace::Tracer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;

use crate::{
    auth::{AuthError, Authenticator, Identity},
    hub::Registration,
    metrics::Metrics,
    protocol::{Filter, Position},
};
pub use close::close;
pub use frame_limiter::FrameLimiter;
use phase_gauge::PhaseGauge;
use timers::Timers;
pub use wire::socket_config;
use writer::Filtered;

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

/// What a client requested in its handshake.
#[derive(Debug)]
pub struct ClientOptions {
    /// Whether it negotiated frames about the connection.
    pub control_frames: bool,
    /// The notifications that it wants.
    pub filter: Filter,
}

/// A socket and the state of its task.
#[expect(missing_debug_implementations, reason = "a future has none")]
pub struct Connection<S> {
    socket: WebSocketStream<S>,
    registration: Registration,
    options: ClientOptions,
    token_expires_at: u64,
    settings: Arc<ConnectionSettings>,
    timers: Timers,
    phase: PhaseGauge,
    /// The position up to which queued frames are duplicates; none once a newer frame was sent.
    replayed_to: Option<Position>,
    /// Present if the filter held back the newest frames.
    filtered: Option<Box<Filtered>>,
    /// Whether the first page of the history was sent, and with it the `authenticated` frame.
    is_authenticated: bool,
    /// Whether a text was sent in part.
    in_fragments: bool,
    /// Present while a new token is checked; the client is not read meanwhile.
    renewal: Option<Renewal>,
}

/// The check of a new token.
type Renewal = Pin<Box<dyn Future<Output = Result<Identity, AuthError>> + Send>>;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Returns a connection that is ready to run. It is boxed because the future of
    /// [`Connection::run`] would hold it twice.
    pub fn new(
        socket: WebSocketStream<S>,
        registration: Registration,
        identity: &Identity,
        options: ClientOptions,
        settings: Arc<ConnectionSettings>,
    ) -> Box<Self> {
        Box::new(Self {
            socket,
            registration,
            options,
            token_expires_at: identity.expires_at,
            timers: Timers::new(&settings, identity.valid_for()),
            phase: PhaseGauge::new(Arc::clone(&settings)),
            settings,
            replayed_to: None,
            filtered: None,
            is_authenticated: false,
            in_fragments: false,
            renewal: None,
        })
    }
}

fn timestamp(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
