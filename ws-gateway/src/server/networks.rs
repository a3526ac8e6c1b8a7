//! Networks, as in `10.0.0.0/8`.

use std::{net::IpAddr, str::FromStr};

/// A list of networks; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// The bits of an address and how many of them there are.
    bits: (u128, u32),
    prefix: u32,
}

impl Networks {
    /// Whether one of them has `address`.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let (bits, length) = bits(address);
        let has = |network: &Network| {
            network.bits.1 == length
                && (network.bits.0 ^ bits).checked_shr(length - network.prefix).unwrap_or(0) == 0
        };
        self.0.iter().any(has)
    }
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|network| network.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is not a network like 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let bits = bits(address.parse().map_err(|_| problem())?);
        let prefix = prefix.map_or(Ok(bits.1), |prefix| prefix.parse().map_err(|_| problem()))?;
        if prefix > bits.1 { Err(problem()) } else { Ok(Self { bits, prefix }) }
    }
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_with_its_first_bits() {
        let networks: Networks = "10.1.0.0/16, 192.0.2.1,fd00::/8".parse().unwrap();
        for inside in ["10.1.255.255", "192.0.2.1", "fdff::1"] {
            assert!(networks.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.2.0.0", "192.0.2.2", "fe00::1", "::ffff:10.1.0.0", "::"] {
            assert!(!networks.contain(outside.parse().unwrap()), "{outside}");
        }
        let all: Networks = "0.0.0.0/0,::/0".parse().unwrap();
        assert!(all.contain("203.0.113.9".parse().unwrap()));
        assert!(all.contain("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn anything_else_is_no_network() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/-1", "a", "::/129", "10.0.0.0/8,"] {
            assert!(text.parse::<Networks>().is_err(), "{text}");
        }
    }
}
