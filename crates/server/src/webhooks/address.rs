//! Where webhooks may go: addresses of the public internet alone, unless the configuration says otherwise. An endpoint's name is looked
//! up here, and what it leads to is judged here, after the look-up: a name that leads into the own network is no way in.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether an address is of the public internet: not this machine's, a private network's, a link's, a carrier's inside, a
/// documentation's, a group's, or one that leads to such by translation (IANA's registries of special-purpose addresses).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 31, 196)
            | (192, 52, 193)
            | (192, 88, 99)
            | (192, 168, _)
            | (192, 175, 48)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let last = || Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
    match (a, b) {
        // Written as IPv6 and meant as IPv4: `::ffff:127.0.0.1`, and through NAT64 `64:ff9b::127.0.0.1`.
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => is_public_v4(last()),
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => is_public_v4(last()),
        // IETF protocols (Teredo, ORCHID, …), documentation, 6to4.
        (0x2001, 0..=0x01ff | 0x0db8) | (0x2002, _) | (0x3fff, 0..=0x0fff) => false,
        // Only this eighth of the space is given out.
        _ => a & 0xe000 == 0x2000,
    }
}

/// How far webhooks may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// The public internet alone.
    #[default]
    Public,
    /// And this machine, where the endpoint says so itself (`127.0.0.1`, `[::1]`, `localhost`): for a trial, whose application mostly
    /// runs here. No other name leads here.
    Trial,
    /// Anywhere that this machine can reach.
    Anywhere,
}

impl Reach {
    /// Whether an address may be gone to that an endpoint's host leads to. `says` is whether the host itself tells which machine it is.
    #[must_use]
    pub fn allows(self, address: IpAddr, says: bool) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Trial if says && address.is_loopback() => true,
            Self::Public | Self::Trial => is_public(address),
        }
    }
}

/// Looks names up as the system does, and gives only the addresses that may be gone to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guide(pub Reach);

/// A name that leads nowhere that may be gone to.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotPublic(pub IpAddr);

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it leads to {}, which is no address of the public internet (webhooks.allow_private_addresses)",
            self.0
        )
    }
}

impl Error for NotPublic {}

impl Guide {
    /// Why a host that is written as an address must not be gone to.
    pub fn refuses(self, host: &str) -> Option<NotPublic> {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        (!self.0.allows(address, true)).then_some(NotPublic(address))
    }

    async fn look_up(self, name: String) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
        let says = name.eq_ignore_ascii_case("localhost");
        let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
        let (allowed, other): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|address| self.0.allows(address.ip(), says));
        match (allowed.is_empty(), other.first()) {
            (true, Some(other)) => Err(Box::new(NotPublic(other.ip()))),
            _ => Ok(Box::new(allowed.into_iter())),
        }
    }
}

impl Resolve for Guide {
    fn resolve(&self, name: Name) -> Resolving {
        let (guide, name) = (*self, name.as_str().to_owned());
        Box::pin(async move { guide.look_up(name).await })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_public_addresses_are_gone_to() {
        for address in ["1.1.1.1", "8.8.8.8", "100.63.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:200::1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
            assert!(!is_public(format!("::ffff:{address}").parse().unwrap()), "mapped {address}");
            assert!(!is_public(format!("64:ff9b::{address}").parse().unwrap()), "translated {address}");
        }
        for address in [
            "::",
            "::1",
            "::7f00:1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "4000::1",
            "64:ff9b:1::1",
            "fec0::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_leads_to() {
        let strict = Guide(Reach::Public);
        let refused = strict.look_up("localhost".to_owned()).await.err().unwrap();
        assert!(refused.to_string().contains("no address of the public internet"), "{refused}");
        let open = Guide(Reach::Anywhere);
        assert!(open.look_up("localhost".to_owned()).await.unwrap().count() > 0);
        assert!(strict.refuses("127.0.0.1").is_some() && strict.refuses("[::1]").is_some());
        assert!(strict.refuses("8.8.8.8").is_none() && strict.refuses("example.com").is_none());
        assert!(open.refuses("127.0.0.1").is_none());
    }

    #[tokio::test]
    async fn in_a_trial_this_machine_is_gone_to_by_its_own_name_alone() {
        let trial = Guide(Reach::Trial);
        for here in ["127.0.0.1", "127.9.9.9", "[::1]", "8.8.8.8"] {
            assert!(trial.refuses(here).is_none(), "{here}");
        }
        for elsewhere in ["10.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "[fd12::1]", "[::ffff:10.0.0.1]"] {
            assert!(trial.refuses(elsewhere).is_some(), "{elsewhere}");
        }
        assert!(trial.look_up("localhost".to_owned()).await.unwrap().count() > 0);
        assert!(!Reach::Trial.allows("127.0.0.1".parse().unwrap(), false), "another name that leads here");
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_as_public_as_itself(bits in any::<u32>()) {
            let plain = Ipv4Addr::from(bits);
            prop_assert_eq!(is_public(plain.into()), is_public(plain.to_ipv6_mapped().into()));
            if plain.is_private() || plain.is_loopback() || plain.is_link_local() || plain.is_multicast() {
                prop_assert!(!is_public(plain.into()));
            }
        }
    }
}
