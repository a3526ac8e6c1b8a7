//! Limits how many handshakes a second are accepted: a token bucket that client addresses share.
//! An address may have taken at most as many tokens in the last second as are left, so that one
//! address that reconnects without a pause always leaves tokens for the others.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::client_address::subnet;

/// How often addresses without recent handshakes are removed.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);
/// Below this, the recent handshakes of an address count as none: 0.7 s after a single one.
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
    /// The addresses that took tokens lately, so at most a few seconds' tokens.
    addresses: HashMap<IpAddr, Recent>,
    purged_at: Instant,
}

/// The handshakes of an address; each counts 1 and decays to 1/e within a second.
#[derive(Debug)]
struct Recent {
    handshakes: f64,
    updated_at: Instant,
}

/// Whose rate a handshake exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateExceeded {
    Total,
    PerAddress,
}

impl HandshakeRate {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let per_second = f64::from(per_second.get());
        let now = Instant::now();
        let bucket = Bucket {
            tokens: per_second,
            refilled_at: now,
            addresses: HashMap::new(),
            purged_at: now,
        };
        Self { per_second, bucket: Mutex::new(bucket) }
    }

    /// Takes a token for a client.
    pub(super) fn try_acquire(&self, client: IpAddr) -> Result<(), RateExceeded> {
        let now = Instant::now();
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.refill(self.per_second, now);
        bucket.take(subnet(client), now)
    }
}

impl Bucket {
    fn refill(&mut self, per_second: f64, now: Instant) {
        let refill = now.duration_since(self.refilled_at).as_secs_f64() * per_second;
        self.tokens = (self.tokens + refill).min(per_second);
        self.refilled_at = now;
        if now.duration_since(self.purged_at) >= PURGE_INTERVAL {
            self.addresses.retain(|_, recent| recent.at(now) >= MIN_RECENT);
            self.purged_at = now;
        }
    }

    fn take(&mut self, address: IpAddr, now: Instant) -> Result<(), RateExceeded> {
        if self.tokens < 1.0 {
            return Err(RateExceeded::Total);
        }
        let recent = self.addresses.get(&address).map_or(0.0, |recent| recent.at(now));
        if recent + 1.0 > self.tokens {
            return Err(RateExceeded::PerAddress);
        }
        self.tokens -= 1.0;
        self.addresses.insert(address, Recent { handshakes: recent + 1.0, updated_at: now });
        Ok(())
    }
}

impl Recent {
    fn at(&self, now: Instant) -> f64 {
        self.handshakes * (-now.duration_since(self.updated_at).as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32) -> HandshakeRate {
        HandshakeRate::new(NonZeroU32::new(per_second).unwrap())
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    /// How many handshakes of a client succeed until one is refused.
    fn accepted(rate: &HandshakeRate, client: IpAddr) -> usize {
        std::iter::repeat_with(|| rate.try_acquire(client)).take_while(Result::is_ok).count()
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_not_exceeded_and_a_second_of_tokens_is_saved_up() {
        let rate = rate(3);
        let mut clients = (0..).map(address);
        let mut acquired = || {
            let attempts = clients.by_ref().take(5).map(|client| rate.try_acquire(client));
            attempts.filter(|result| *result != Err(RateExceeded::Total)).count()
        };
        assert_eq!(acquired(), 3);
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(acquired(), 1);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(acquired(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_reconnect_without_a_pause_leave_tokens_for_the_others() {
        let rate = rate(1_000);
        for tick in 0..2_000 {
            for attacker in 0..4 {
                accepted(&rate, address(attacker));
            }
            assert_eq!(rate.try_acquire(address(0)), Err(RateExceeded::PerAddress));
            assert_eq!(rate.try_acquire(address(100 + tick)), Ok(()), "tick {tick}");
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        let addresses = rate.bucket.lock().unwrap().addresses.len();
        assert!(addresses < 1_000, "{addresses} addresses are kept");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_alone_may_use_almost_the_whole_rate_and_half_of_what_is_saved_up() {
        let rate = rate(1_000);
        assert_eq!(accepted(&rate, address(1)), 500);
        tokio::time::advance(Duration::from_mins(1)).await;
        for tick in 0..10_000 {
            assert_eq!(rate.try_acquire(address(1)), Ok(()), "tick {tick}");
            tokio::time::advance(Duration::from_micros(1_010)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_ipv6_subnet_shares_its_handshakes() {
        let rate = rate(4);
        let acquire = |client: &str| rate.try_acquire(client.parse().unwrap());
        assert_eq!((acquire("2001:db8::1"), acquire("2001:db8::2")), (Ok(()), Ok(())));
        assert_eq!(acquire("2001:db8::3"), Err(RateExceeded::PerAddress));
        assert_eq!(acquire("2001:db8:0:1::1"), Ok(()));
    }
}
