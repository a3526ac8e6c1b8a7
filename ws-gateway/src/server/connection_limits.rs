//! How many WebSockets each address has, where that is limited.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::{HeaderMap, header::HeaderName};

use crate::server::networks::Networks;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The addresses that have WebSockets. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct PerAddressLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: Option<NonZeroUsize>,
    proxies: Networks,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One WebSocket of an address. Dropping it takes it off the count.
#[derive(Debug)]
pub(super) struct AddressPermit(Option<(PerAddressLimit, IpAddr)>);

impl PerAddressLimit {
    /// `most` for each address; none: no limit, and nothing is counted. What `proxies` say of
    /// their clients is believed.
    pub(super) fn new(most: Option<NonZeroUsize>, proxies: Networks) -> Self {
        Self(Arc::new(Shared { most, proxies, taken: Mutex::default() }))
    }

    /// Counts one more for the client behind a request from `peer`, or none if it has as many as
    /// one may have.
    pub(super) fn enter(&self, peer: IpAddr, headers: &HeaderMap) -> Option<AddressPermit> {
        let Some(most) = self.0.most else { return Some(AddressPermit(None)) };
        let address = subnet(self.client(peer, headers));
        let mut taken = self.taken();
        let count = taken.entry(address).or_default();
        if *count >= most.get() {
            return None;
        }
        *count += 1;
        Some(AddressPermit(Some((self.clone(), address))))
    }

    /// The client behind `peer`: from the right, as each proxy adds whom it has heard, up to the
    /// first address that is no proxy of ours. What stands further left anybody may have written.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let values: Vec<&str> = headers
            .get_all(FORWARDED_FOR)
            .into_iter()
            .map(|value| value.to_str().unwrap_or_default())
            .collect();
        for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
            if !self.0.proxies.contain(client) {
                break;
            }
            let Some(before) = address(entry.trim()) else { break };
            client = before.to_canonical();
        }
        client
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let Some((addresses, address)) = self.0.take() else { return };
        let mut taken = addresses.taken();
        if let Some(count) = taken.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&address);
            }
        }
    }
}

/// Some proxies add the port.
fn address(entry: &str) -> Option<IpAddr> {
    let socket = || entry.parse().ok().map(|socket: std::net::SocketAddr| socket.ip());
    entry.parse().ok().or_else(socket)
}

/// What one client has for itself: an IPv4 address, or the 64 bits of an IPv6 network.
fn subnet(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (FORWARDED_FOR, value.parse().unwrap())).collect()
    }

    fn client(peer: &str, values: &[&str]) -> String {
        let addresses = PerAddressLimit::new(None, "10.0.0.0/8, fd00::/8".parse().unwrap());
        addresses.client(peer.parse().unwrap(), &forwarded(values)).to_string()
    }

    #[test]
    fn a_proxy_is_believed_and_nobody_else() {
        assert_eq!(client("203.0.113.7", &["198.51.100.1"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(client("fd00::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_a_client_writes_itself_stands_too_far_left_to_count() {
        assert_eq!(client("10.0.0.1", &["192.0.2.9, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.9", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.9, nonsense, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["192.0.2.9,"]), "10.0.0.1");
    }

    #[test]
    fn an_address_has_so_many_and_a_network_of_ipv6_counts_as_one() {
        let addresses = PerAddressLimit::new(NonZeroUsize::new(1), Networks::default());
        let enter = |peer: &str| addresses.enter(peer.parse().unwrap(), &HeaderMap::new());
        let one = enter("192.0.2.1").expect("there is room");
        assert!(enter("192.0.2.1").is_none() && enter("192.0.2.2").is_some());
        drop(one);
        assert!(enter("192.0.2.1").is_some());
        let _one = enter("2001:db8::1").expect("there is room");
        assert!(enter("2001:db8::2").is_none() && enter("2001:db8:0:1::1").is_some());
        assert_eq!(addresses.taken().len(), 1);
    }
}
