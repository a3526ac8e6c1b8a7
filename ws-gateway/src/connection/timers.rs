//! What happens to a connection when time passes: one timer serves all of it.

use std::time::Duration;

use tokio::time::Instant;

use super::ConnectionSettings;

/// A token may end later than this; a timer need not.
const FAR: Duration = Duration::from_hours(24 * 365);

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Timers {
    ping_interval: Duration,
    keepalive_timeout: Duration,
    expiry_grace: Duration,
    last_activity: Instant,
    next_ping: Instant,
    expires_at: Instant,
    /// When low-priority frames have waited long enough.
    pub(super) flush_by: Option<Instant>,
    /// When to leave, once the gateway stops.
    pub(super) drain_at: Option<Instant>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerEvent {
    Drain,
    TokenExpired,
    KeepaliveTimeout,
    Flush,
    Ping,
}

impl Timers {
    pub(super) fn new(settings: &ConnectionSettings, token_valid_for: Duration) -> Self {
        let now = Instant::now();
        Self {
            ping_interval: settings.ping_interval,
            keepalive_timeout: settings.keepalive_timeout,
            expiry_grace: settings.expiry_grace,
            last_activity: now,
            next_ping: now + settings.ping_interval,
            expires_at: now + token_valid_for.min(FAR) + settings.expiry_grace,
            flush_by: None,
            drain_at: None,
        }
    }

    /// When something may be due.
    pub(super) fn next(&self) -> Instant {
        let always = self.next_ping.min(self.expires_at).min(self.keepalive_deadline());
        let sometimes = [self.flush_by, self.drain_at];
        sometimes.into_iter().flatten().fold(always, Instant::min)
    }

    /// What is due now, the most final first.
    pub(super) fn due(&mut self) -> Option<TimerEvent> {
        let now = Instant::now();
        let passed = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if passed(self.drain_at) {
            Some(TimerEvent::Drain)
        } else if self.expires_at <= now {
            Some(TimerEvent::TokenExpired)
        } else if self.keepalive_deadline() <= now {
            Some(TimerEvent::KeepaliveTimeout)
        } else if passed(self.flush_by) {
            Some(TimerEvent::Flush)
        } else if self.next_ping <= now {
            self.next_ping = now + self.ping_interval;
            Some(TimerEvent::Ping)
        } else {
            None
        }
    }

    /// Records that the client has sent a message, a ping or a pong.
    pub(super) fn record_activity(&mut self) {
        self.last_activity = Instant::now();
    }

    /// The connection has a token that is valid for this long.
    pub(super) fn set_token_lifetime(&mut self, valid_for: Duration) {
        self.expires_at = Instant::now() + valid_for.min(FAR) + self.expiry_grace;
    }

    /// Chooses a moment within `window` to leave.
    pub(super) fn schedule_drain(&mut self, window: Duration) {
        self.drain_at = Some(Instant::now() + window.mul_f64(rand::random_range(0.0..=1.0)));
    }

    fn keepalive_deadline(&self) -> Instant {
        self.last_activity + self.keepalive_timeout
    }
}
