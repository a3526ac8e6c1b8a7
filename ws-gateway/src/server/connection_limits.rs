//! How many WebSockets there may be: in all, and of one client address.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client_address::subnet;

/// Both limits of a server.
#[derive(Debug)]
pub(super) struct ConnectionLimits {
    total: Arc<Semaphore>,
    per_address: Option<PerAddressLimit>,
}

/// Permission for one WebSocket. Dropping it makes room for another.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    _total: OwnedSemaphorePermit,
    _address: Option<AddressPermit>,
}

/// The limit that a new connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitExceeded {
    Total,
    PerAddress,
}

impl ConnectionLimits {
    pub(super) fn new(total: NonZeroUsize, per_address: Option<NonZeroUsize>) -> Self {
        let total = Arc::new(Semaphore::new(total.get()));
        Self { total, per_address: per_address.map(PerAddressLimit::new) }
    }

    pub(super) fn acquire(&self, client: IpAddr) -> Result<ConnectionPermit, LimitExceeded> {
        let acquire = |limit: &PerAddressLimit| limit.acquire(client);
        let address = self.per_address.as_ref().map(acquire).transpose()?;
        match Arc::clone(&self.total).try_acquire_owned() {
            Ok(total) => Ok(ConnectionPermit { _total: total, _address: address }),
            Err(_) => Err(LimitExceeded::Total),
        }
    }
}

/// Counts WebSockets by client address. Cheap to clone; clones share the counts.
#[derive(Clone, Debug)]
struct PerAddressLimit {
    max: NonZeroUsize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One WebSocket of an address.
#[derive(Debug)]
struct AddressPermit {
    limit: PerAddressLimit,
    subnet: IpAddr,
}

impl PerAddressLimit {
    fn new(max: NonZeroUsize) -> Self {
        Self { max, counts: Arc::default() }
    }

    fn acquire(&self, client: IpAddr) -> Result<AddressPermit, LimitExceeded> {
        let subnet = subnet(client);
        let mut counts = self.counts();
        let count = counts.entry(subnet).or_default();
        if *count >= self.max.get() {
            return Err(LimitExceeded::PerAddress);
        }
        *count += 1;
        drop(counts);
        Ok(AddressPermit { limit: self.clone(), subnet })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // The map is consistent after every step, so a panic elsewhere leaves it usable.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut counts = self.limit.counts();
        if let Some(count) = counts.get_mut(&self.subnet) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.subnet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_limit_and_an_ipv6_subnet_counts_as_one_address() {
        let limit = PerAddressLimit::new(NonZeroUsize::MIN);
        let acquire = |client: &str| limit.acquire(client.parse().unwrap());
        let one = acquire("192.0.2.1").expect("the first is within the limit");
        assert!(acquire("192.0.2.1").is_err() && acquire("192.0.2.2").is_ok());
        drop(one);
        assert!(acquire("192.0.2.1").is_ok());
        let _one = acquire("2001:db8::1").expect("the first is within the limit");
        assert!(acquire("2001:db8::2").is_err() && acquire("2001:db8:0:1::1").is_ok());
        assert_eq!(limit.counts().len(), 1);
    }

    #[test]
    fn a_refused_connection_counts_nowhere() {
        let limits = ConnectionLimits::new(NonZeroUsize::MIN, NonZeroUsize::new(2));
        let acquire = |client: [u8; 4]| limits.acquire(client.into());
        let one = acquire([192, 0, 2, 1]).expect("the first is within the limits");
        for _ in 0..3 {
            assert_eq!(acquire([192, 0, 2, 1]).unwrap_err(), LimitExceeded::Total);
        }
        drop(one);
        assert!(acquire([192, 0, 2, 1]).is_ok());
    }
}
