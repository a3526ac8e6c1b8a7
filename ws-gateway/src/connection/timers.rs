//! What happens to a connection when time passes: one timer serves all of it.

use std::time::Duration;

use tokio::time::Instant;

use super::Terms;

/// A token may end later than this; a timer need not.
const FAR: Duration = Duration::from_hours(24 * 365);

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Clock {
    ping_interval: Duration,
    silence_limit: Duration,
    expiry_grace: Duration,
    heard_at: Instant,
    next_ping: Instant,
    expires_at: Instant,
    /// When low-priority frames have waited long enough.
    pub(super) flush_by: Option<Instant>,
    /// When to leave, once the gateway stops.
    pub(super) leave_at: Option<Instant>,
    second_began: Instant,
    heard_in_second: u32,
    deaf_until: Option<Instant>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Leave,
    TokenExpired,
    Silent,
    Flush,
    Ping,
}

impl Clock {
    pub(super) fn new(terms: &Terms, token_valid_for: Duration) -> Self {
        let now = Instant::now();
        Self {
            ping_interval: terms.ping_interval,
            silence_limit: terms.silence_limit,
            expiry_grace: terms.expiry_grace,
            heard_at: now,
            next_ping: now + terms.ping_interval,
            expires_at: now + token_valid_for.min(FAR) + terms.expiry_grace,
            flush_by: None,
            leave_at: None,
            second_began: now,
            heard_in_second: 0,
            deaf_until: None,
        }
    }

    /// When something may be due.
    pub(super) fn next(&self) -> Instant {
        let always = self.next_ping.min(self.expires_at).min(self.silent_at());
        let sometimes = [self.flush_by, self.leave_at, self.deaf_until];
        sometimes.into_iter().flatten().fold(always, Instant::min)
    }

    /// What is due now, the most final first.
    pub(super) fn due(&mut self) -> Option<Event> {
        let now = Instant::now();
        if self.deaf_until.is_some_and(|until| until <= now) {
            self.deaf_until = None;
            // It could not be heard, so it was not silent.
            self.heard_at = now;
        }
        let passed = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if passed(self.leave_at) {
            Some(Event::Leave)
        } else if self.expires_at <= now {
            Some(Event::TokenExpired)
        } else if self.silent_at() <= now {
            Some(Event::Silent)
        } else if passed(self.flush_by) {
            Some(Event::Flush)
        } else if self.next_ping <= now {
            self.next_ping = now + self.ping_interval;
            Some(Event::Ping)
        } else {
            None
        }
    }

    /// Notes a sign of life. Returns whether it was one too many in this second; then the client
    /// is not read until the second is over.
    pub(super) fn heard(&mut self, most: u32) -> bool {
        let now = Instant::now();
        self.heard_at = now;
        if now.duration_since(self.second_began) >= Duration::from_secs(1) {
            self.second_began = now;
            self.heard_in_second = 0;
        }
        self.heard_in_second += 1;
        if self.heard_in_second <= most {
            return false;
        }
        self.deaf_until = Some(self.second_began + Duration::from_secs(1));
        true
    }

    /// Whether the client is read now.
    pub(super) fn reads(&self) -> bool {
        self.deaf_until.is_none()
    }

    /// The connection has a token that is valid for this long.
    pub(super) fn expire_in(&mut self, valid_for: Duration) {
        self.expires_at = Instant::now() + valid_for.min(FAR) + self.expiry_grace;
    }

    /// Chooses a moment within `window` to leave.
    pub(super) fn leave_within(&mut self, window: Duration) {
        self.leave_at = Some(Instant::now() + window.mul_f64(rand::random_range(0.0..=1.0)));
    }

    fn silent_at(&self) -> Instant {
        self.heard_at + self.silence_limit
    }
}
