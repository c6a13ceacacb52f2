//! Who is believed as a proxy that tells of its clients' certificates.

use std::{fmt, net::IpAddr};

use super::spiffe;
use crate::caller::CallerId;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// At this address.
    Address(IpAddr),
    /// A user of this machine, on a Unix socket.
    User(u32),
}

/// Proxies that are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// Those at these addresses.
    At(Network),
    /// Those of a user of this machine, on a Unix socket.
    User(u32),
    /// Those whose own certificates have this SPIFFE id, or begin with it.
    Named(String),
}

impl Proxy {
    pub(super) fn read(text: &str) -> Option<Self> {
        if spiffe::is_pattern(text) {
            return Some(Self::Named(text.to_owned()));
        }
        match text.parse() {
            Ok(CallerId::User { uid }) => Some(Self::User(uid)),
            _ => Network::read(text).map(Self::At),
        }
    }

    /// As the configuration has it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::At(network) => network.to_string(),
            Self::User(uid) => CallerId::User { uid: *uid }.to_string(),
            Self::Named(pattern) => pattern.clone(),
        }
    }

    /// Refuses networks that are hardly meant.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::At(network) => network.check(),
            Self::User(_) | Self::Named(_) => Ok(()),
        }
    }

    /// Whether the other end of a connection is one of them, with this SPIFFE id in its
    /// certificate.
    pub(super) fn is(&self, peer: Option<Peer>, certificate: Option<&str>) -> bool {
        match (self, peer) {
            (Self::At(network), Some(Peer::Address(address))) => network.has(address),
            (Self::User(uid), Some(Peer::User(other))) => *uid == other,
            (Self::Named(pattern), _) => {
                certificate.is_some_and(|id| spiffe::extent(pattern, id).is_some())
            }
            _ => false,
        }
    }
}

/// Some addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// One of them, as it was written.
    address: IpAddr,
    bits: u8,
    all: CallerId,
}

/// How many bits of a network its addresses have in common at least, if it is not suspicious: IPv4
/// and IPv6.
const SMALL_NETWORK: (u8, u8) = (24, 64);

impl Network {
    /// Reads an address, or a network as `192.0.2.0/24`.
    fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse::<IpAddr>().ok()?.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { most } else { bits.parse().ok()? };
        let all = CallerId::network(address, bits, bits);
        (bits <= most).then_some(Self { address, bits, all })
    }

    /// Refuses what is hardly meant: everyone, and an address with the length of a network.
    fn check(&self) -> Result<(), String> {
        let Self { address, bits, all } = self;
        if *bits == 0 {
            return Err(format!(
                "must name the addresses of proxies, got `{all}`, which is everyone: who is in it \
                 can be any caller"
            ));
        }
        match all {
            CallerId::Network { address: first, .. } if first != address => Err(format!(
                "has `{address}/{bits}`, which is an address and not a network: write `{address}` \
                 for this one, or `{all}` for all of them"
            )),
            _ => Ok(()),
        }
    }

    /// Whether it has more addresses than a few proxies need, and not only this machine's.
    pub(crate) fn is_wide(&self) -> bool {
        let least = if self.address.is_ipv4() { SMALL_NETWORK.0 } else { SMALL_NETWORK.1 };
        self.bits < least && !self.address.is_loopback()
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        CallerId::network(address, self.bits, self.bits) == self.all
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_told_by_where_it_is_or_by_its_certificate() {
        let at = |text: &str| Some(Peer::Address(text.parse().unwrap()));
        let (envoy, other) = ("spiffe://example.org/ns/ingress/sa/envoy", "spiffe://a/b");
        for (proxy, peer, certificate, expected) in [
            ("10.0.0.0/8", at("10.1.2.3"), None, true),
            ("10.0.0.0/8", at("11.0.0.0"), Some(envoy), false),
            ("10.0.0.0/8", Some(Peer::User(0)), None, false),
            ("0.0.0.0/0", None, Some(envoy), false),
            ("uid:1337", Some(Peer::User(1337)), None, true),
            ("uid:1337", Some(Peer::User(1338)), None, false),
            ("uid:1337", at("127.0.0.1"), None, false),
            (envoy, at("192.0.2.1"), Some(envoy), true),
            (envoy, at("192.0.2.1"), Some(other), false),
            (envoy, at("192.0.2.1"), None, false),
            ("spiffe://example.org/ns/ingress/*", Some(Peer::User(0)), Some(envoy), true),
        ] {
            let read = Proxy::read(proxy).unwrap();
            assert_eq!(read.shown(), proxy);
            assert_eq!(read.is(peer, certificate), expected, "{proxy} {peer:?} {certificate:?}");
        }
        for wrong in ["", "uid:", "uid:x", "unix", "others", "spiffe://a", "billing"] {
            assert_eq!(Proxy::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_network_has_its_addresses_however_they_are_written() {
        for (network, address, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1/32", "::ffff:127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.9.8.7", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("::1", "::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("0.0.0.0/0", "::1", false),
        ] {
            let network = Network::read(network).unwrap();
            assert_eq!(network.has(address.parse().unwrap()), expected, "{network:?} {address}");
        }
        for (network, is_right) in [
            ("10.1.2.3/8", false),
            ("10.1.2.3/32", true),
            ("10.0.0.0/8", true),
            ("0.0.0.0/0", false),
            ("::/0", false),
            ("::1/64", false),
            ("::ffff:127.0.0.1", true),
        ] {
            assert_eq!(Network::read(network).unwrap().check().is_ok(), is_right, "{network}");
        }
        for (network, is_wide) in [
            ("127.0.0.0/8", false),
            ("192.0.2.0/24", false),
            ("192.0.2.0/23", true),
            ("2001:db8::/64", false),
            ("2001:db8::/63", true),
        ] {
            assert_eq!(Network::read(network).unwrap().is_wide(), is_wide, "{network}");
        }
        for wrong in ["", "localhost", "10.0.0.0/33", "10.0.0.0/-1", "::1/129", "10.0.0.0/8/8"] {
            assert_eq!(Network::read(wrong), None, "{wrong}");
        }
    }
}
