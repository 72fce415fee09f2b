//! Which addresses may a stranger's URL lead to? The public ones, and those that the operator allowed.
//!
//! Everything for special use (RFC 6890 and the registries of IANA) is closed, and so is what holds such an address inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Where fetches for strangers may go besides public addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// This machine, with plain http too: for development.
    pub loopback: bool,
    pub networks: Vec<IpNet>,
}

/// Networks for special use.
const V4: [(Ipv4Addr, u8); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, and what is reserved above it.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];
/// Networks for special use within 2000::/3, the only part that is given out for public use; the first two hold IPv4 addresses.
const V6: [(Ipv6Addr, u8); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

impl Reach {
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_allowed = self.networks.iter().any(|network| network.contains(&address));
        is_allowed || self.loopback && address.is_loopback() || !is_special(address)
    }
}

fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => V4.iter().any(|(network, length)| is_in_v4(*network, *length, address)),
        IpAddr::V6(address) => {
            let [first, ..] = address.segments();
            first & 0xe000 != 0x2000 || V6.iter().any(|(network, length)| is_in_v6(*network, *length, address))
        }
    }
}

/// SECURITY: a length that cannot be would close everything.
fn is_in_v4(network: Ipv4Addr, length: u8, address: Ipv4Addr) -> bool {
    Ipv4Net::new(network, length).map_or(true, |network| network.contains(&address))
}

fn is_in_v6(network: Ipv6Addr, length: u8, address: Ipv6Addr) -> bool {
    Ipv6Net::new(network, length).map_or(true, |network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(reach: &Reach, address: &str) -> bool {
        reach.permits(address.parse().expect("an address"))
    }

    #[test]
    fn item_123_addresses_for_special_use_are_closed() {
        let reach = Reach::default();
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!permits(&reach, address), "{address}");
        }
        for address in ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:1.1.1.1"] {
            assert!(permits(&reach, address), "{address}");
        }
    }

    #[test]
    fn what_the_operator_allowed_is_open_and_nothing_beside_it() {
        let reach = Reach { loopback: true, networks: vec!["10.20.0.0/16".parse().expect("a network")] };
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.20.1.1", "::ffff:10.20.1.1"] {
            assert!(permits(&reach, address), "{address}");
        }
        for address in ["10.21.0.1", "169.254.169.254", "192.168.0.1"] {
            assert!(!permits(&reach, address), "{address}");
        }
    }
}
