//! Where the shared store is, and where its Sentinels are.

use std::{fmt, net::Ipv6Addr, path::PathBuf, str::FromStr};

use serde_json::Value as Json;
use url::{Host, Url};

use crate::settings::{Env, Kind, Node, Read, plain_text};

const MAX_LENGTH: usize = 2048;
/// More Sentinels than this do not vote faster.
const MAX_SENTINELS: usize = 16;
/// Most bytes of the path of a Unix socket: that and a zero fill `sun_path` (unix(7)).
const MAX_PATH: usize = 107;

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

const WANTED: &str =
    "must be `redis://host:6379`, `rediss://host:6379` for TLS, or `unix:/run/redis.sock`";
const WANTED_SENTINELS: &str = "must be addresses such as `redis://host:26379`, or `rediss://` \
                                for TLS, with commas between them";

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host, by name or by address, and a port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.parse::<Ipv6Addr>().is_ok() => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address, and whether connections to it are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// Whether TLS is spoken there.
    pub encrypted: bool,
}

impl Endpoint {
    /// Messages never contain the text, because any part of an invalid one may be a password.
    fn parse(text: &str, port: u16, wanted: &str) -> Read<Self> {
        for scheme in ["redis+unix:", "unix:"] {
            if let Some(path) = text.strip_prefix(scheme) {
                return unix(path).map(|address| Self { address, encrypted: false });
            }
        }
        let (encrypted, rest) =
            match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
                (Some(rest), _) => (false, rest),
                (_, Some(rest)) => (true, rest),
                _ => return Err(wanted.to_owned()),
            };
        // Checked everywhere, because a slash in a password moves its `@` into the path.
        if rest.contains('@') {
            return Err("must not contain a user name or password (no `@`), there are keys for \
                        them"
                .to_owned());
        }
        let url = Url::parse(text).map_err(|error| format!("{wanted}: {error}"))?;
        if !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "must end with the port; the number of the database is `database`".to_owned()
            );
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(format!("{wanted}, with a host")),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if !host.chars().all(fits) || url.port() == Some(0) {
            return Err(format!("{wanted}, with a host and no port 0"));
        }
        Ok(Self { address: Address::Tcp(host, url.port().unwrap_or(port)), encrypted })
    }

    /// Whether what is sent can be read on the way.
    fn is_exposed(&self) -> bool {
        let Address::Tcp(host, _) = &self.address else { return false };
        let is_here = host == "localhost"
            || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        !self.encrypted && !is_here
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, SERVER_PORT, WANTED)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.encrypted) {
            (Address::Unix(_), _) => self.address.fmt(f),
            (address, true) => write!(f, "rediss://{address}"),
            (address, false) => write!(f, "redis://{address}"),
        }
    }
}

fn unix(path: &str) -> Read<Address> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.len() > MAX_PATH || path.contains(['?', '#']) {
        return Err(format!(
            "must be `unix:` and an absolute path of at most {MAX_PATH} bytes, without `?`"
        ));
    }
    Ok(Address::Unix(path.into()))
}

/// Where the Sentinels are: at least one, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinels(Vec<Endpoint>);

impl Sentinels {
    /// Their addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.0.iter().map(|sentinel| &sentinel.address)
    }

    /// Whether TLS is spoken with them, and with the servers that they name.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.iter().all(|sentinel| sentinel.encrypted)
    }
}

impl FromStr for Sentinels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let each = text.split(',').map(str::trim);
        let read = |text| Endpoint::parse(text, SENTINEL_PORT, WANTED_SENTINELS);
        let sentinels: Vec<Endpoint> = each.map(read).collect::<Result<_, _>>()?;
        if sentinels.len() > MAX_SENTINELS {
            return Err(format!("must not be more than {MAX_SENTINELS} addresses"));
        }
        let encrypted = sentinels.iter().filter(|sentinel| sentinel.encrypted).count();
        if ![0, sentinels.len()].contains(&encrypted) {
            return Err("must be all `redis://` or all `rediss://`".to_owned());
        }
        Ok(Self(sentinels))
    }
}

pub(super) fn endpoint() -> impl Kind<Value = Endpoint> {
    Place::<Endpoint> { exposed: Endpoint::is_exposed, wanted: WANTED }
}

pub(super) fn sentinels() -> impl Kind<Value = Sentinels> {
    let exposed = |sentinels: &Sentinels| sentinels.0.iter().any(Endpoint::is_exposed);
    Place::<Sentinels> { exposed, wanted: WANTED_SENTINELS }
}

struct Place<T> {
    exposed: fn(&T) -> bool,
    wanted: &'static str,
}

impl<T: FromStr<Err = String> + fmt::Display> Kind for Place<T> {
    type Value = T;

    fn read(&self, node: &Node, env: &Env) -> Read<T> {
        plain_text(MAX_LENGTH).read(node, env)?.parse()
    }

    fn show(&self, value: &T) -> Json {
        value.to_string().into()
    }

    fn form(&self) -> &'static str {
        "string"
    }

    fn bounds(&self) -> String {
        self.wanted.trim_start_matches("must be ").to_owned()
    }

    fn caution(&self, value: &T) -> Option<&'static str> {
        (self.exposed)(value).then_some(
            "is not encrypted: anyone on the way can read the password and all that replicas \
             share, use `rediss://`",
        )
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, sentinel) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            sentinel.fmt(f)?;
        }
        Ok(())
    }
}
