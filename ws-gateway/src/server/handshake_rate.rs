//! Limits how many handshakes a second are accepted: a token bucket that all clients share.
//! An address may have taken at most as many tokens in the last second as are left, so that one
//! address that reconnects without a pause always leaves tokens for the others. The networks that
//! contain it may have taken twice and four times as many: a client may have a whole network, and
//! its neighbours need tokens as well. A handshake with a good JWT counts for its user instead, as
//! many users may share an address; it is accepted also if others have used up the share of the
//! address. The last tenth is for networks without a recent handshake: many addresses may have used
//! up the rest.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use shared::user::UserId;
use tokio::time::Instant;

use super::client_address::networks;

/// How often sources without recent handshakes are removed.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);
/// The share of the tokens that only networks without recent handshakes are given.
const RESERVED: f64 = 0.1;
/// Below this, the recent handshakes of a source count as none: 0.7 s after a single one.
const MIN_RECENT: f64 = 0.5;

/// Holds tokens for one second and refills steadily.
#[derive(Debug)]
pub(super) struct HandshakeRate {
    per_second: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    refilled_at: Instant,
    /// The sources that took tokens lately, so at most a few for each of a few seconds' tokens.
    recent: HashMap<Source, Recent>,
    purged_at: Instant,
}

/// What a handshake counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Network(IpNet),
    User(UserId),
}

/// The handshakes of a source; each counts 1 and decays to 1/e within a second.
#[derive(Clone, Copy, Debug)]
struct Recent {
    handshakes: f64,
    updated_at: Instant,
}

/// Whose rate a handshake exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateExceeded {
    Total,
    PerAddress,
    PerUser,
}

impl HandshakeRate {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let per_second = f64::from(per_second.get());
        let now = Instant::now();
        let recent = HashMap::new();
        let bucket = Bucket { tokens: per_second, refilled_at: now, recent, purged_at: now };
        Self { per_second, bucket: Mutex::new(bucket) }
    }

    /// Takes a token for a client.
    pub(super) fn try_acquire(&self, client: IpAddr) -> Result<(), RateExceeded> {
        let now = Instant::now();
        let mut bucket = self.bucket();
        bucket.refill(self.per_second, now);
        bucket.take(client, RESERVED * self.per_second, now)
    }

    /// Counts the handshake of a client for its user instead of its networks. One that exceeds
    /// the user's rate counts for nothing.
    pub(super) fn assign(&self, client: IpAddr, user: &UserId) -> Result<(), RateExceeded> {
        self.bucket().assign(client, user, Instant::now())
    }

    /// Takes a token for a user with a good JWT, above the share of the address.
    pub(super) fn acquire(&self, user: &UserId) -> Result<(), RateExceeded> {
        let now = Instant::now();
        let mut bucket = self.bucket();
        bucket.refill(self.per_second, now);
        bucket.take_for(user, RESERVED * self.per_second, now)
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn refill(&mut self, per_second: f64, now: Instant) {
        let refill = now.duration_since(self.refilled_at).as_secs_f64() * per_second;
        self.tokens = (self.tokens + refill).min(per_second);
        self.refilled_at = now;
        if now.duration_since(self.purged_at) >= PURGE_INTERVAL {
            self.recent.retain(|_, recent| recent.at(now) >= MIN_RECENT);
            self.purged_at = now;
        }
    }

    fn take(&mut self, client: IpAddr, reserved: f64, now: Instant) -> Result<(), RateExceeded> {
        let networks = networks(client).into_iter().map(Source::Network);
        let networks: Vec<Source> = networks.collect();
        if self.tokens < 1.0 {
            return Err(RateExceeded::Total);
        }
        let mut limit = self.tokens;
        for network in &networks {
            if self.recent_of(network, now) + 1.0 > limit {
                return Err(RateExceeded::PerAddress);
            }
            limit *= 2.0;
        }
        let largest = networks.last();
        let has_recent = largest.is_some_and(|network| self.recent_of(network, now) >= MIN_RECENT);
        if has_recent && self.tokens < 1.0 + reserved {
            return Err(RateExceeded::Total);
        }
        self.tokens -= 1.0;
        for network in networks {
            self.count(network, 1.0, now);
        }
        Ok(())
    }

    fn assign(&mut self, client: IpAddr, user: &UserId, now: Instant) -> Result<(), RateExceeded> {
        for network in networks(client) {
            self.count(Source::Network(network), -1.0, now);
        }
        let user = Source::User(user.clone());
        if self.recent_of(&user, now) > self.tokens {
            self.tokens += 1.0;
            return Err(RateExceeded::PerUser);
        }
        self.count(user, 1.0, now);
        Ok(())
    }

    fn take_for(&mut self, user: &UserId, reserved: f64, now: Instant) -> Result<(), RateExceeded> {
        if self.tokens < 1.0 + reserved {
            return Err(RateExceeded::Total);
        }
        let user = Source::User(user.clone());
        if self.recent_of(&user, now) + 1.0 > self.tokens {
            return Err(RateExceeded::PerUser);
        }
        self.tokens -= 1.0;
        self.count(user, 1.0, now);
        Ok(())
    }

    fn recent_of(&self, source: &Source, now: Instant) -> f64 {
        self.recent.get(source).map_or(0.0, |recent| recent.at(now))
    }

    fn count(&mut self, source: Source, handshakes: f64, now: Instant) {
        let handshakes = (self.recent_of(&source, now) + handshakes).max(0.0);
        self.recent.insert(source, Recent { handshakes, updated_at: now });
    }
}

impl Recent {
    fn at(&self, now: Instant) -> f64 {
        self.handshakes * (-now.duration_since(self.updated_at).as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests;
