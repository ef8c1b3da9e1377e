//! Whose request it is: the connection's address, or what proxies that we trust say stands behind it.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;
use axum::http::header::FORWARDED;
use ipnet::IpNet;

/// The address at the other end of the connection, as the listener saw it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The client's address.
///
/// Forwarding headers count only if the connection comes from a trusted proxy. Then the hops are walked from the right, that is
/// from the nearest one, for as long as each is a trusted proxy itself; the first that is not is the client. Whatever a client
/// writes into such a header stands further left and is never reached. A hop that cannot be read ends the walk at the last good one.
///
/// Which of `X-Forwarded-For` and `Forwarded` the proxies write is not known here, and the other one may be the client's own: if
/// both are there and disagree, neither is believed.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let listed = headers.get_all("x-forwarded-for");
    let forwarded = headers.get_all(FORWARDED);
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or("").to_owned();
    let by_list = listed.iter().next().map(|_| {
        let lines: Vec<_> = listed.iter().map(text).collect();
        walk(peer, trusted, lines.iter().flat_map(|line| line.split(',')).rev().map(read_hop))
    });
    let by_forwarded = forwarded.iter().next().map(|_| {
        let lines: Vec<_> = forwarded.iter().map(text).collect();
        walk(peer, trusted, lines.iter().flat_map(|line| line.split(',')).rev().map(|hop| read_hop(for_of(hop)?)))
    });
    match (by_list, by_forwarded) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(client), _) | (None, Some(client)) => client,
        (None, None) => peer,
    }
}

fn walk(peer: IpAddr, trusted: &[IpNet], hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
    let mut client = peer;
    for hop in hops {
        match hop {
            Some(hop) if is_trusted(client, trusted) => client = hop,
            _ => break,
        }
    }
    client
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// The `for=` of one element of `Forwarded`.
fn for_of(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn read_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = match hop.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match hop.split_once(':') {
            // One colon is a port's; more are an IPv6 address.
            Some((address, port)) if !port.contains(':') => address,
            _ => hop,
        },
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// The key by which client limits count an address: an IPv4 address, or the /64 that an IPv6 address is one of 2^64 of.
#[must_use]
pub fn client_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64));
            format!("{network}/64")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn address(peer: &str, headers: &[(&'static str, &str)], trusted: &[&str]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn bug_a11_without_a_trusted_proxy_no_header_counts() {
        for name in ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip"] {
            assert_eq!(address("203.0.113.9", &[(name, "198.51.100.1")], &[]), "203.0.113.9");
            assert_eq!(address("203.0.113.9", &[(name, "for=198.51.100.1")], &["10.0.0.0/8"]), "203.0.113.9");
        }
    }

    #[test]
    fn bug_a11_behind_proxies_the_rightmost_untrusted_hop_counts() {
        let trusted = &["10.0.0.0/8", "2001:db8::/32"];
        let list = |value: &str| address("10.0.0.1", &[("x-forwarded-for", value)], trusted);
        assert_eq!(list("198.51.100.1"), "198.51.100.1");
        assert_eq!(
            list("1.1.1.1, 198.51.100.1"),
            "198.51.100.1",
            "what the client wrote stands left of what the proxy saw"
        );
        assert_eq!(list("1.1.1.1, 198.51.100.1, 10.2.3.4"), "198.51.100.1");
        assert_eq!(list("198.51.100.1:4711"), "198.51.100.1");
        assert_eq!(list("[2606:4700::1]:443"), "2606:4700::1");
        assert_eq!(list("2606:4700::1"), "2606:4700::1");
        assert_eq!(list("::ffff:198.51.100.1"), "198.51.100.1");
        assert_eq!(list("10.9.9.9, 10.2.3.4"), "10.9.9.9", "all of them ours: the furthest");
        assert_eq!(list("198.51.100.1, garbage"), "10.0.0.1");
        assert_eq!(list("198.51.100.1, unknown, 10.2.3.4"), "10.2.3.4");
        assert_eq!(list(""), "10.0.0.1");
        let two = address("10.0.0.1", &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "198.51.100.1")], trusted);
        assert_eq!(two, "198.51.100.1", "several lines are one list");
        assert_eq!(address("::ffff:10.0.0.1", &[("x-forwarded-for", "198.51.100.1")], trusted), "198.51.100.1");
    }

    #[test]
    fn the_standard_header_is_read_too() {
        let forwarded = |value: &str| address("10.0.0.1", &[("forwarded", value)], &["10.0.0.0/8"]);
        assert_eq!(forwarded("for=198.51.100.1"), "198.51.100.1");
        assert_eq!(forwarded("for=1.1.1.1, For=\"198.51.100.1:80\";proto=https;by=10.0.0.1"), "198.51.100.1");
        assert_eq!(forwarded("proto=https;for=\"[2606:4700::1]:1234\""), "2606:4700::1");
        assert_eq!(forwarded("for=198.51.100.1, for=_hidden"), "10.0.0.1");
        assert_eq!(forwarded("by=10.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn two_headers_that_disagree_are_not_believed() {
        let both = |list, forwarded| {
            address("10.0.0.1", &[("x-forwarded-for", list), ("forwarded", forwarded)], &["10.0.0.0/8"])
        };
        assert_eq!(both("198.51.100.1", "for=9.9.9.9"), "10.0.0.1");
        assert_eq!(both("198.51.100.1", "for=198.51.100.1"), "198.51.100.1");
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let key = |text: &str| client_key(text.parse().unwrap());
        assert_eq!(key("198.51.100.1"), "198.51.100.1");
        assert_eq!(key("::ffff:198.51.100.1"), "198.51.100.1");
        assert_eq!(key("2606:4700:0:1:aaaa::1"), "2606:4700:0:1::/64");
        assert_eq!(key("2606:4700:0:1:bbbb::2"), key("2606:4700:0:1::"));
        assert_ne!(key("2606:4700:0:2::1"), key("2606:4700:0:1::1"));
    }

    /// A small generator: headers are hostile in ways that tables do not list.
    fn noise(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    #[test]
    fn bug_a11_whatever_a_client_writes_it_is_counted_as_itself() {
        let pieces = [
            "1.2.3.4",
            "10.0.0.7",
            "[::1]",
            "[",
            "]",
            ":",
            ",",
            ";",
            "for=",
            "\"",
            "unknown",
            " ",
            "::ffff:9.9.9.9",
            "_x",
            "=",
            "%",
            "999.1.1.1",
        ];
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..20_000 {
            let forged: String =
                (0..noise(&mut seed) % 8).map(|_| pieces[(noise(&mut seed) % pieces.len() as u64) as usize]).collect();
            let seen = format!("{forged}, 198.51.100.77");
            assert_eq!(
                address("10.0.0.1", &[("x-forwarded-for", &seen)], &["10.0.0.0/8"]),
                "198.51.100.77",
                "{forged}"
            );
            assert_eq!(
                address("198.51.100.77", &[("x-forwarded-for", &forged), ("forwarded", &forged)], &["10.0.0.0/8"]),
                "198.51.100.77"
            );
        }
    }
}
