//! The one address filter: which addresses we connect to because somebody else named them.
//!
//! Server names, `Location` headers and redirects are chosen by strangers, who would like us to speak to the machines
//! next to us. So each address is looked at after DNS, right before the connection, and only what is reachable on the
//! public internet passes. An IPv6 address that only carries an IPv4 address is judged by the one that it carries.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What is not on the public internet (IANA IPv4 Special-Purpose Address Registry), and one address that should not be.
const REFUSED_V4: [Ipv4Net; 18] = [
    v4([0, 0, 0, 0], 8),          // this network
    v4([10, 0, 0, 0], 8),         // private
    v4([100, 64, 0, 0], 10),      // shared by the customers of a provider; metadata at one cloud
    v4([127, 0, 0, 0], 8),        // loopback
    v4([168, 63, 129, 16], 32),   // public, but it is the platform of Azure that answers from inside
    v4([169, 254, 0, 0], 16),     // link-local; metadata at most clouds
    v4([172, 16, 0, 0], 12),      // private
    v4([192, 0, 0, 0], 24),       // protocol assignments; metadata at one cloud
    v4([192, 0, 2, 0], 24),       // documentation
    v4([192, 88, 99, 0], 24),     // relays of 6to4
    v4([192, 168, 0, 0], 16),     // private
    v4([198, 18, 0, 0], 15),      // benchmarks
    v4([198, 51, 100, 0], 24),    // documentation
    v4([203, 0, 113, 0], 24),     // documentation
    v4([224, 0, 0, 0], 4),        // multicast
    v4([233, 252, 0, 0], 24),     // documentation, within multicast
    v4([240, 0, 0, 0], 4),        // reserved
    v4([255, 255, 255, 255], 32), // broadcast, within reserved
];

/// What is not on the public internet: everything outside `2000::/3` (RFC 4291 §2.4), so unspecified, loopback,
/// IPv4-compatible, discard-only, link-local, site-local, unique local and multicast addresses too; and, within it, the
/// ranges of the IANA IPv6 Special-Purpose Address Registry.
const REFUSED_V6: [Ipv6Net; 7] = [
    v6([0, 0], 3),
    v6([0x4000, 0], 2),
    v6([0x8000, 0], 1),
    v6([0x2001, 0], 23),     // protocol assignments: Teredo, benchmarks, ORCHID
    v6([0x2001, 0xdb8], 32), // documentation
    v6([0x2002, 0], 16),     // 6to4
    v6([0x3fff, 0], 20),     // documentation
];

/// IPv4 behind a translator (RFC 6052 §2.1). On a network that has IPv6 only, DNS answers so for each IPv4 server.
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Decides which addresses we connect to.
#[derive(Debug, Clone, Default)]
pub struct AddressFilter {
    allow: Arc<[IpNet]>,
}

impl AddressFilter {
    /// A filter that lets public addresses pass, and those in `allow`. A range of IPv4 addresses there is also meant for
    /// the IPv6 addresses that carry them.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow: allow.into() }
    }

    /// Whether we may connect to this address.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = carried(address);
        self.allow.iter().any(|range| range.contains(&address)) || is_public(address)
    }
}

/// The IPv4 address that a mapped (RFC 4291 §2.5.5.2) or translated IPv6 address stands for; others as they are.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if NAT64.contains(&v6) {
        let [.., a, b, c, d] = v6.octets();
        return Ipv4Addr::new(a, b, c, d).into();
    }
    v6.to_canonical()
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !REFUSED_V4.iter().any(|range| range.contains(&v4)),
        IpAddr::V6(v6) => !REFUSED_V6.iter().any(|range| range.contains(&v6)),
    }
}

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b]: [u16; 2], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(filter: &AddressFilter, address: &str) -> bool {
        filter.allows(address.parse().unwrap())
    }

    #[test]
    fn what_is_not_on_the_public_internet_is_refused_up_to_its_borders() {
        // First and last address of each range, and the public ones next to it, where there are any.
        let ranges = [
            ("0.0.0.0", "0.255.255.255", "", "1.0.0.0"),
            ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
            ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
            ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
            ("168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17"),
            ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
            ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
            ("192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
            ("192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
            ("192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"),
            ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
            ("198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
            ("198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
            ("203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
            ("224.0.0.0", "239.255.255.255", "223.255.255.255", ""),
            ("233.252.0.0", "233.252.0.255", "", ""),
            ("240.0.0.0", "255.255.255.254", "", ""),
            ("255.255.255.255", "255.255.255.255", "", ""),
            ("::", "::1", "", ""),
            ("::0.0.0.2", "::255.255.255.255", "", ""),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "", ""),
            ("100::", "100::ffff:ffff:ffff:ffff", "", ""),
            ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1fff::", "", "2000::"),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff::", "2001:200::"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff::", "2001:db9::"),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:ffff::", "2003::"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff::", "3fff:1000::"),
            ("4000::", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:ffff:ffff::", ""),
            ("8000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
            ("fd00:ec2::254", "fd00:ec2::254", "", ""),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", ""),
        ];

        let filter = AddressFilter::default();
        for (first, last, before, after) in ranges {
            assert!(!allows(&filter, first), "{first}");
            assert!(!allows(&filter, last), "{last}");
            for outside in [before, after].iter().filter(|outside| !outside.is_empty()) {
                assert!(allows(&filter, outside), "{outside}");
            }
        }
    }

    #[test]
    fn addresses_of_public_servers_are_allowed() {
        for address in ["1.1.1.1", "9.9.9.9", "104.20.20.236", "2606:4700::6814:14ec", "2a00:1450:4001:80b::200e"] {
            assert!(allows(&AddressFilter::default(), address), "{address}");
        }
    }

    #[test]
    fn an_address_that_carries_another_is_judged_by_it() {
        let filter = AddressFilter::default();

        for carrier in ["::ffff:", "64:ff9b::"] {
            for refused in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "255.255.255.255"] {
                assert!(!allows(&filter, &format!("{carrier}{refused}")), "{carrier}{refused}");
            }
            assert!(allows(&filter, &format!("{carrier}1.1.1.1")), "{carrier}1.1.1.1");
        }
        assert!(!allows(&filter, "64:ff9b:1::1.1.1.1"));
        assert!(!allows(&filter, "::1.1.1.1"));
    }

    #[test]
    fn an_exception_is_made_for_its_range_and_for_what_carries_it() {
        let filter = AddressFilter::new(vec!["127.0.0.0/30".parse().unwrap(), "fd00:1::/32".parse().unwrap()]);

        for allowed in ["127.0.0.0", "127.0.0.3", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "fd00:1::9", "1.1.1.1"] {
            assert!(allows(&filter, allowed), "{allowed}");
        }
        for refused in ["127.0.0.4", "::ffff:127.0.0.4", "10.0.0.1", "fd00:2::9", "::1"] {
            assert!(!allows(&filter, refused), "{refused}");
        }
    }

    #[test]
    fn an_exception_for_all_of_ipv6_is_none_for_ipv4() {
        let filter = AddressFilter::new(vec!["::/0".parse().unwrap()]);

        assert!(allows(&filter, "::1"));
        assert!(!allows(&filter, "::ffff:127.0.0.1"));
    }

    proptest! {
        #[test]
        fn each_address_is_judged_alike_however_it_is_carried(address: Ipv4Addr, excepted: Ipv4Addr) {
            let filter = AddressFilter::new(vec![Ipv4Net::new(excepted, 4).unwrap().into()]);
            let [a, b, c, d] = address.octets();
            let translated = Ipv6Addr::from([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);

            let allowed = filter.allows(address.into());

            prop_assert_eq!(filter.allows(address.to_ipv6_mapped().into()), allowed);
            prop_assert_eq!(filter.allows(translated.into()), allowed);
        }
    }
}
