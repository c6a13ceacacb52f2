//! Where a port listens.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use super::{
    error::quoted,
    kind::Kind,
    node::{Env, Node},
    value::{self, Read},
};

/// Most bytes of the path of a Unix socket: that and a zero fill `sun_path` (unix(7)).
const MAX_PATH: usize = 107;
/// Longest text: a path with what precedes it.
const MAX_TEXT: usize = 128;

const LOCALHOST: &str = "localhost";
const UNIX: &str = "unix:";

/// Where a port listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// One IP address and a port: `127.0.0.1:50051`, `[::1]:50051`.
    Ip(SocketAddr),
    /// A port of both loopback addresses, as far as the system has them: `localhost:50051`.
    Localhost(u16),
    /// A port of all addresses of the machine: `:50051`.
    All(u16),
    /// A Unix socket: `unix:/run/gateway.sock`.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only programs on this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().to_canonical().is_loopback(),
            Self::All(_) => false,
            Self::Localhost(_) | Self::Unix(_) => true,
        }
    }

    /// An address under which this machine reaches it over TCP; none for a Unix socket.
    #[must_use]
    pub fn dial(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Localhost(port) | Self::All(port) => {
                Some(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))
            }
            Self::Unix(_) => None,
        }
    }

    /// Whether both cannot be bound: they are the same, or one covers the other.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            _ => self.sockets().iter().any(|a| other.sockets().iter().any(|b| clash(*a, *b))),
        }
    }

    fn sockets(&self) -> Vec<SocketAddr> {
        match self {
            Self::Ip(address) => vec![*address],
            Self::Localhost(port) => vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, *port)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, *port)),
            ],
            Self::All(port) => vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port))],
            Self::Unix(_) => Vec::new(),
        }
    }
}

fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, other: SocketAddr| {
        // `[::]` covers IPv4 too unless the system is configured otherwise.
        wide.ip().is_unspecified() && (wide.is_ipv6() || other.is_ipv4())
    };
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Localhost(port) => write!(f, "{LOCALHOST}:{port}"),
            Self::All(port) => write!(f, ":{port}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    /// What it has to be: the rest of a sentence that begins with a key.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return unix(path);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let number = |port: &str| match port.bytes().all(|byte| byte.is_ascii_digit()) {
            true => port.parse().ok(),
            false => None,
        };
        let port = text.rsplit_once(':').and_then(|(host, port)| Some((host, number(port)?)));
        match port {
            Some(("", port)) => Ok(Self::All(port)),
            Some((LOCALHOST, port)) => Ok(Self::Localhost(port)),
            // Another name may mean several addresses, or another one tomorrow.
            _ => Err("must be an IP address and a port such as `127.0.0.1:50051`, or \
                      `localhost:50051`, or `:50051` for all addresses, or the path of a socket \
                      such as `unix:/run/gateway.sock`"
                .to_owned()),
        }
    }
}

fn unix(path: &str) -> Result<ListenAddress, String> {
    // gRPC's names have two slashes more before an absolute path.
    let path = match path.strip_prefix("//") {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    if path.is_empty() || path.ends_with('/') {
        return Err("must name a file after `unix:`".to_owned());
    }
    if path.len() > MAX_PATH {
        return Err(format!("must name a file of at most {MAX_PATH} bytes"));
    }
    Ok(ListenAddress::Unix(path.into()))
}

/// Where a port listens.
pub(crate) fn listen_address() -> impl Kind<Value = ListenAddress> {
    Address
}

struct Address;

impl Kind for Address {
    type Value = ListenAddress;

    fn read(&self, node: &Node, _: &Env) -> Read<ListenAddress> {
        let text = value::text(node, MAX_TEXT)?;
        text.parse().map_err(|why| format!("{why}, got {}", quoted(text)))
    }

    fn show(&self, value: &ListenAddress) -> serde_json::Value {
        value.to_string().into()
    }

    fn form(&self) -> &'static str {
        "address"
    }

    fn bounds(&self) -> String {
        "an IP address and a port, `localhost:PORT`, `:PORT`, or `unix:PATH`".to_owned()
    }
}

impl ListenAddress {
    /// The same with the port that the system chose, where port 0 was asked for.
    #[must_use]
    pub(crate) fn with_port(self, port: u16) -> Self {
        match self {
            Self::Ip(address) => {
                let ip: IpAddr = address.ip();
                Self::Ip(SocketAddr::new(ip, port))
            }
            Self::Localhost(_) => Self::Localhost(port),
            Self::All(_) => Self::All(port),
            Self::Unix(path) => Self::Unix(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_was_written() {
        for text in [
            "127.0.0.1:50051",
            "[::1]:0",
            "0.0.0.0:1",
            "localhost:50051",
            ":50051",
            "unix:/run/a.sock",
            "unix:a.sock",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        let absolute: ListenAddress = "unix:///run/a.sock".parse().unwrap();
        assert_eq!(absolute.to_string(), "unix:/run/a.sock");
        for wrong in [
            "",
            "50051",
            ":",
            ":+1",
            ":65536",
            "gateway:50051",
            "localhost",
            "localhost.:1",
            "::1:50051",
            "127.0.0.1",
            "http://127.0.0.1:50051",
        ] {
            let why = wrong.parse::<ListenAddress>().unwrap_err();
            assert!(why.contains("IP address and a port"), "{wrong}: {why}");
        }
        let long = format!("unix:/{}", "a".repeat(MAX_PATH));
        for (wrong, expected) in [("unix:", "a file"), ("unix:/run/", "a file"), (&long, "107")] {
            let why = wrong.parse::<ListenAddress>().unwrap_err();
            assert!(why.contains(expected), "{wrong}: {why}");
        }
        long.get(..long.len() - 1).unwrap().parse::<ListenAddress>().unwrap();
    }

    #[test]
    fn addresses_that_cover_each_other_clash() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "localhost:1", true),
            ("[::1]:1", "localhost:1", true),
            ("0.0.0.0:1", "localhost:1", true),
            (":1", "localhost:1", true),
            (":1", "192.0.2.1:1", true),
            (":1", "0.0.0.0:1", true),
            ("unix:/a", "unix:/a", true),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("192.0.2.1:1", "localhost:1", false),
            ("localhost:0", "localhost:0", false),
            ("localhost:1", "localhost:2", false),
            ("unix:/a", "unix:/b", false),
            ("unix:/a", ":1", false),
        ] {
            let parse = |text: &str| text.parse::<ListenAddress>().unwrap();
            assert_eq!(parse(one).clashes_with(&parse(other)), expected, "{one} {other}");
            assert_eq!(parse(other).clashes_with(&parse(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn only_this_machine_reaches_its_loopback_addresses_and_sockets() {
        for (text, local) in [
            ("127.0.0.2:1", true),
            ("[::1]:1", true),
            ("localhost:1", true),
            ("unix:/a", true),
            (":1", false),
            ("0.0.0.0:1", false),
            ("192.0.2.1:1", false),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().is_local(), local, "{text}");
        }
    }
}
