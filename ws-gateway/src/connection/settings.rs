//! The settings of connections.

use std::{num::NonZeroU32, time::Duration};

use shared::trace::Tracer;
use tokio::time::Instant;

use crate::{auth::Authenticator, metrics::Metrics};

/// What all connections share.
#[derive(Debug)]
pub struct ConnectionSettings {
    /// The interval between pings.
    pub ping_interval: Duration,
    /// The time that pings are aligned to, see [`ConnectionSettings::next_ping`].
    pub epoch: Instant,
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

/// The number of times in an interval at which pings are sent.
const PINGS_PER_INTERVAL: u32 = 256;

impl ConnectionSettings {
    /// Returns when the next ping is due: an interval from `now`, or up to 1/256 earlier, so that
    /// connections share times. One wake-up of the runtime then serves many pings, and their
    /// number at a time stays small.
    pub(super) fn next_ping(&self, now: Instant) -> Instant {
        let step = (self.ping_interval / PINGS_PER_INTERVAL).as_nanos().max(1);
        let next = (now + self.ping_interval).duration_since(self.epoch);
        let early = u64::try_from(next.as_nanos() % step).expect("a remainder of an interval");
        self.epoch + next - Duration::from_nanos(early)
    }
}
