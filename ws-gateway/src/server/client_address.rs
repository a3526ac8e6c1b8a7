//! The address of the client behind a request: the peer itself, or the client that trusted
//! proxies name in `X-Forwarded-For`.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use hyper::{HeaderMap, header::HeaderName};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The prefix length of `::ffff:0:0/96`, the range of IPv4-mapped IPv6 addresses.
const IPV4_MAPPED_PREFIX: u8 = 96;

/// Bits of an IPv6 address that an internet provider assigns to one customer at least.
const IPV6_SUBNET_PREFIX: u8 = 64;

/// Prefix lengths of the networks that one client may have: an address or a small network.
const IPV4_NETWORK_PREFIXES: [u8; 2] = [32, 24];
/// Prefix lengths that internet providers assign to a customer.
const IPV6_NETWORK_PREFIXES: [u8; 3] = [IPV6_SUBNET_PREFIX, 56, 48];

/// The networks of the proxies whose `X-Forwarded-For` is trusted; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Returns the client behind `peer`. Each proxy appends the address that it was called from,
    /// so the list is read from the right, up to the first address that is not a trusted proxy;
    /// the client itself may have written everything further left.
    #[must_use]
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let values: Vec<&str> = headers
            .get_all(FORWARDED_FOR)
            .into_iter()
            .map(|value| value.to_str().unwrap_or_default())
            .collect();
        for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
            if !self.contain(client) {
                break;
            }
            let Some(previous) = parse_entry(entry.trim()) else { break };
            client = previous.to_canonical();
        }
        client
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Returns what one client has to itself: an IPv4 address, or an IPv6 network of 64 bits.
pub(super) fn subnet(address: IpAddr) -> IpAddr {
    match without_nat64(address) {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Net::new_assert(address, IPV6_SUBNET_PREFIX).network().into(),
    }
}

/// Returns the networks that one client may have to itself, the smallest first: an IPv4 address or
/// its /24, or what an IPv6 client is assigned, a /64, /56 or /48.
pub(super) fn networks(address: IpAddr) -> Vec<IpNet> {
    match without_nat64(address) {
        IpAddr::V4(address) => IPV4_NETWORK_PREFIXES
            .map(|prefix| Ipv4Net::new_assert(address, prefix).trunc().into())
            .into(),
        IpAddr::V6(address) => IPV6_NETWORK_PREFIXES
            .map(|prefix| Ipv6Net::new_assert(address, prefix).trunc().into())
            .into(),
    }
}

/// Returns the IPv4 address in a NAT64 address with the well-known prefix `64:ff9b::/96` of RFC
/// 6052: all IPv4 clients share its /64. Any other address is returned as it is.
fn without_nat64(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::from([a, b, c, d])
        }
        _ => address,
    }
}

/// Reads an address, to which some proxies add the port.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let with_port = || entry.parse().ok().map(|socket: SocketAddr| socket.ip());
    entry.parse().ok().or_else(with_port)
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|network| parse_network(network.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Reads a network or a single address. Peers are compared as IPv4 wherever they can be, so an
/// IPv4-mapped network becomes the IPv4 network that it maps.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let network: Option<IpNet> =
        text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| address.into()));
    let network = network.ok_or_else(|| format!("{text:?} is not a network like 10.0.0.0/8"))?;
    let IpNet::V6(v6) = network else { return Ok(network) };
    let Some(v4) = v6.addr().to_ipv4_mapped() else { return Ok(network) };
    let prefix = v6.prefix_len().checked_sub(IPV4_MAPPED_PREFIX);
    let v4 = prefix.and_then(|prefix| Ipv4Net::new(v4, prefix).ok());
    v4.map(IpNet::V4).ok_or_else(|| {
        format!("{text:?}: an IPv4-mapped network has a prefix of at least {IPV4_MAPPED_PREFIX}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, values: &[&str]) -> String {
        let proxies: TrustedProxies = "10.0.0.0/8, fd00::/8".parse().unwrap();
        let headers = values.iter().map(|value| (FORWARDED_FOR, value.parse().unwrap())).collect();
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_the_header_of_a_trusted_proxy_counts() {
        assert_eq!(client("203.0.113.7", &["198.51.100.1"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(client("fd00::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn addresses_that_the_client_wrote_itself_do_not_count() {
        assert_eq!(client("10.0.0.1", &["192.0.2.9, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.9", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.9, nonsense, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["192.0.2.9,"]), "10.0.0.1");
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        let proxies: TrustedProxies = "10.1.0.0/16, 192.0.2.1,fd00::/8".parse().unwrap();
        for inside in ["10.1.255.255", "192.0.2.1", "fdff::1"] {
            assert!(proxies.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.2.0.0", "192.0.2.2", "fe00::1", "::ffff:10.1.0.0", "::"] {
            assert!(!proxies.contain(outside.parse().unwrap()), "{outside}");
        }
        let all: TrustedProxies = "0.0.0.0/0,::/0".parse().unwrap();
        assert!(all.contain("203.0.113.9".parse().unwrap()));
        assert!(all.contain("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn an_ipv4_mapped_network_is_the_ipv4_network() {
        let mapped: TrustedProxies = "::ffff:10.0.0.0/104,::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(mapped, "10.0.0.0/8,192.0.2.1/32".parse().unwrap());
        assert!("::ffff:10.0.0.0/95".parse::<TrustedProxies>().is_err());
    }

    #[test]
    fn a_nat64_address_is_limited_as_the_ipv4_address_that_it_holds() {
        let [nat64, v4] = ["64:ff9b::192.0.2.7", "192.0.2.7"].map(|a| a.parse::<IpAddr>().unwrap());
        assert_eq!((subnet(nat64), networks(nat64)), (v4, networks(v4)));
        let other = "64:ff9b:1::192.0.2.7".parse().unwrap();
        assert_eq!(subnet(other), "64:ff9b:1::".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn anything_else_is_not_a_network() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/-1", "a", "::/129", "10.0.0.0/8,"] {
            assert!(text.parse::<TrustedProxies>().is_err(), "{text}");
        }
    }
}
