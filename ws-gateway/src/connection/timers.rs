//! The deadlines of one connection, served by a single timer.

use std::time::Duration;

use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::settings::ConnectionSettings;
use crate::protocol::CloseReason;

/// The maximum time until a token expires: a timer cannot be set arbitrarily far ahead.
const MAX_TOKEN_LIFETIME: Duration = Duration::from_hours(24 * 365);

/// The deadlines of one connection.
#[derive(Debug)]
pub(super) struct Timers {
    last_activity: Instant,
    next_ping: Instant,
    expires_at: Instant,
    /// When queued frames of low priority have to be written.
    pub(super) flush_by: Option<Instant>,
    /// When the connection is closed during shutdown.
    pub(super) drain_at: Option<Instant>,
}

/// The deadlines of a write that waits for the client.
#[derive(Debug)]
pub(super) struct WriteDeadlines {
    drain_at: Option<Instant>,
    drain_window: Duration,
    expires_at: Instant,
    timeout: Duration,
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
            last_activity: now,
            next_ping: settings.next_ping(now),
            expires_at: now + token_valid_for.min(MAX_TOKEN_LIFETIME) + settings.expiry_grace,
            flush_by: None,
            drain_at: None,
        }
    }

    /// Returns the earliest deadline.
    pub(super) fn next(&self, settings: &ConnectionSettings) -> Instant {
        let keepalive = self.keepalive_deadline(settings);
        let always = self.next_ping.min(self.expires_at).min(keepalive);
        let sometimes = [self.flush_by, self.drain_at];
        sometimes.into_iter().flatten().fold(always, Instant::min)
    }

    /// Returns what is due now; what closes the connection comes first.
    pub(super) fn due(&mut self, settings: &ConnectionSettings) -> Option<TimerEvent> {
        let now = Instant::now();
        let passed = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if passed(self.drain_at) {
            Some(TimerEvent::Drain)
        } else if self.expires_at <= now {
            Some(TimerEvent::TokenExpired)
        } else if self.keepalive_deadline(settings) <= now {
            Some(TimerEvent::KeepaliveTimeout)
        } else if passed(self.flush_by) {
            Some(TimerEvent::Flush)
        } else if self.next_ping <= now {
            self.next_ping = settings.next_ping(now);
            Some(TimerEvent::Ping)
        } else {
            None
        }
    }

    /// Records that the client has sent a message, a ping or a pong.
    pub(super) fn record_activity(&mut self) {
        self.last_activity = Instant::now();
    }

    /// Sets the remaining lifetime of the token.
    pub(super) fn set_token_lifetime(
        &mut self,
        valid_for: Duration,
        settings: &ConnectionSettings,
    ) {
        let valid_for = valid_for.min(MAX_TOKEN_LIFETIME);
        self.expires_at = Instant::now() + valid_for + settings.expiry_grace;
    }

    /// Schedules the close at a random time within `window`.
    pub(super) fn schedule_drain(&mut self, window: Duration) {
        self.drain_at = Some(drain_time(window));
    }

    /// Returns when a connection that begins a write now has to be closed before the write ends.
    pub(super) fn write_deadlines(&self, settings: &ConnectionSettings) -> WriteDeadlines {
        WriteDeadlines {
            drain_at: self.drain_at,
            drain_window: settings.drain_window,
            expires_at: self.expires_at,
            timeout: settings.keepalive_timeout,
        }
    }

    fn keepalive_deadline(&self, settings: &ConnectionSettings) -> Instant {
        self.last_activity + settings.keepalive_timeout
    }
}

impl WriteDeadlines {
    /// Waits for the first deadline, counted from the first poll, and returns why the connection
    /// has to be closed: a client that lets a write wait for the keep-alive timeout is too slow.
    pub(super) async fn passed(self, shutdown: &CancellationToken) -> CloseReason {
        let drain = async {
            let at = if let Some(at) = self.drain_at {
                at
            } else {
                shutdown.cancelled().await;
                drain_time(self.drain_window)
            };
            sleep_until(at).await;
        };
        select! {
            () = drain => CloseReason::Restarting,
            () = sleep_until(self.expires_at) => CloseReason::TokenExpired,
            () = sleep(self.timeout) => CloseReason::TooSlow,
        }
    }
}

/// Returns a random time within `window`.
fn drain_time(window: Duration) -> Instant {
    Instant::now() + window.mul_f64(rand::random_range(0.0..=1.0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::time::advance;

    use super::*;
    use crate::connection::tests::settings;

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_opened_at_any_time_share_the_times_of_their_pings() {
        let settings = settings();
        let mut times = BTreeSet::new();
        for _ in 0..1_000 {
            advance(Duration::from_millis(1)).await;
            let ping = settings.next_ping(Instant::now());
            let latest = Instant::now() + settings.ping_interval;
            assert!(ping <= latest && latest - ping < settings.ping_interval / 256);
            times.insert(ping);
        }
        // A second has 8.5 steps of 30/256 s.
        assert_eq!(times.len(), 9);
    }
}
