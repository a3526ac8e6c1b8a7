//! One connection, run by one task until there is a reason to close it. Client input never stops
//! delivery, except for protocol errors.

mod channel;
mod close;
mod event_stream;
mod frame_limiter;
mod latency;
mod long_poll;
mod phase_gauge;
mod reader;
mod select_loop;
mod settings;
mod timers;
mod transport;
mod wire;
mod writer;

use std::{pin::Pin, sync::Arc};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    auth::{AuthError, Identity},
    hub::registration::Registration,
    protocol::{Filter, Position},
};
pub use channel::Channel;
pub(crate) use channel::Reconnect;
pub(crate) use close::close;
pub(crate) use event_stream::EventStream;
pub(crate) use frame_limiter::FrameLimiter;
pub(crate) use long_poll::{Answer, LongPoll};
use phase_gauge::PhaseGauge;
pub use settings::ConnectionSettings;
use timers::Timers;
pub use transport::{SharedSocket, Socket, Transport};
pub use wire::socket_config;

/// What a client requested in its handshake.
#[derive(Debug)]
pub struct ClientOptions {
    /// Whether it negotiated frames about the connection.
    pub control_frames: bool,
    /// The notifications that it wants.
    pub filter: Filter,
}

/// Frames that the filter held back since the last one that was sent.
#[derive(Debug)]
struct Filtered {
    /// The position of the newest one.
    position: Position,
    /// When the client is sent the position.
    due: Instant,
}

/// A channel to a client and the state of its task.
#[expect(missing_debug_implementations, reason = "a future has none")]
pub struct Connection<C> {
    channel: C,
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
    /// Present while a new token is checked.
    renewal: Option<Renewal>,
    /// The token to check after that; the client is not read while there is one.
    next_token: Option<Box<str>>,
}

/// The check of a new token.
type Renewal = Pin<Box<dyn Future<Output = Result<Identity, AuthError>> + Send>>;

impl<C: Channel> Connection<C> {
    /// Returns a connection that is ready to run. It is boxed because the future of
    /// [`Connection::run`] would hold it twice.
    pub fn new(
        mut channel: C,
        registration: Registration,
        identity: &Identity,
        options: ClientOptions,
        settings: Arc<ConnectionSettings>,
    ) -> Box<Self> {
        if let Some(writer) = channel.writer() {
            registration.outbox().set_writer(writer);
        }
        if options.control_frames {
            registration.outbox().accept_read_state();
        }
        if !options.filter.passes_all() {
            registration.outbox().note_filter(&options.filter);
        }
        channel.watch(registration.outbox().clone());
        Box::new(Self {
            channel,
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
            next_token: None,
        })
    }
}

fn timestamp(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
