//! The address of the client behind trusted reverse proxies (`X-Forwarded-For`).
//!
//! Each proxy appends the address it was called from, so only the right end of the list is written
//! by someone we trust; everything left of the first untrusted address is hearsay. Rate limits and
//! logs depend on this walk: taking the leftmost address would let any client choose its own.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The address nearest to us that is not one of the `trusted` proxies. `peer` is the other end of
/// the connection; if it is not trusted itself, the header is not looked at. Something that is not
/// an address ends the walk at the last one before it. If all are trusted, it is the leftmost.
/// IPv4 addresses mapped into IPv6 are given as IPv4, so `trusted` has to name them so.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let elements = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    // Empty elements are legal in a received list (RFC 9110 §5.6.1.2).
    let mut elements = elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty());
    while is_trusted(&client) {
        let Some(address) = elements.next().and_then(address) else {
            break;
        };
        client = address;
    }
    client
}

/// What limits by address count by. An IPv6 customer holds at least a /64 and can send from any
/// address in it, so the lower half is zeroed.
pub fn rate_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// An address as proxies write it: bare, with a port, and IPv6 with or without brackets.
fn address(element: &[u8]) -> Option<IpAddr> {
    let element = str::from_utf8(element).ok()?;
    let bracketed = element.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bracketed {
        Some(address) => IpAddr::V6(address.parse().ok()?),
        None => match element.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => element.parse::<SocketAddr>().ok()?.ip(),
        },
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&'static [u8]], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).expect("a test sends a valid header"));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().expect("a test names a net")).collect();
        client_address(peer.parse().expect("a test names an address"), &headers, &trusted).to_string()
    }

    const PROXIES: &[&str] = &["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"];

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_claims() {
        assert_eq!(client("203.0.113.9", &[b"1.2.3.4"], PROXIES), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[b"1.2.3.4"], &[]), "10.0.0.1");
    }

    #[test]
    fn a_trusted_peer_without_the_header_is_the_client() {
        assert_eq!(client("10.0.0.1", &[], PROXIES), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[b""], PROXIES), "10.0.0.1");
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        assert_eq!(client("10.0.0.1", &[b"198.51.100.7"], PROXIES), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &[b"1.1.1.1, 198.51.100.7"], PROXIES), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &[b"6.6.6.6, 198.51.100.7, 10.9.9.9,127.0.0.1"], PROXIES), "198.51.100.7");
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines: &[&'static [u8]] = &[b"6.6.6.6, 198.51.100.7", b"10.0.0.3", b"10.0.0.2"];

        assert_eq!(client("10.0.0.1", lines, PROXIES), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &[b"6.6.6.6", b"198.51.100.7"], PROXIES), "198.51.100.7");
    }

    #[test]
    fn if_all_are_trusted_it_is_the_leftmost() {
        assert_eq!(client("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"], PROXIES), "10.0.0.3");
    }

    #[test]
    fn garbage_ends_the_walk_at_the_last_good_address() {
        for garbage in [
            &b"1.1.1.1, unknown"[..],
            b"1.1.1.1, _hidden",
            b"1.1.1.1, 1.2.3",
            b"1.1.1.1, 1.2.3.4:99999",
            b"1.1.1.1, [::1",
            b"1.1.1.1, [1.2.3.4]",
            b"1.1.1.1, fe80::1%eth0",
            b"1.1.1.1, \xff",
            b"1.1.1.1 2.2.2.2",
        ] {
            assert_eq!(client("10.0.0.1", &[garbage], PROXIES), "10.0.0.1", "{}", garbage.escape_ascii());
        }
        assert_eq!(client("10.0.0.1", &[b"1.1.1.1, junk, 10.0.0.2"], PROXIES), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &[b"junk, 198.51.100.7"], PROXIES), "198.51.100.7");
    }

    #[test]
    fn addresses_may_have_ports_and_brackets() {
        let table: &[(&[u8], &str)] = &[
            (b"198.51.100.7:4711", "198.51.100.7"),
            (b"2001:db8::7", "2001:db8::7"),
            (b"[2001:db8::7]", "2001:db8::7"),
            (b"[2001:db8::7]:4711", "2001:db8::7"),
            (b"1.1.1.1,, \t2001:DB8::7 ,", "2001:db8::7"),
        ];
        for (value, expected) in table {
            assert_eq!(client("10.0.0.1", &[value], PROXIES), *expected);
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(client("::ffff:10.0.0.1", &[b"::ffff:198.51.100.7"], PROXIES), "198.51.100.7");
        assert_eq!(client("::ffff:203.0.113.9", &[], PROXIES), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[b"5.5.5.5, [::ffff:10.0.0.2]:80"], PROXIES), "5.5.5.5");
    }

    #[test]
    fn an_ipv6_neighbourhood_shares_one_key() {
        let key = |address: &str| rate_key(address.parse().expect("a test names an address")).to_string();

        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:2:ffff::1"), "2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:3::1"), "2001:db8:1:3::");
        assert_eq!(key("198.51.100.7"), "198.51.100.7");
        assert_eq!(key("::ffff:198.51.100.7"), "198.51.100.7");
    }
}
