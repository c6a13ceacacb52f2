//! The checked configuration: plain data, complete and within bounds.
//!
//! Does no reading and no checking. Defaults stand here and nowhere else.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Everything the program is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gRPC address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The address of the admin HTTP: health, metrics, this configuration.
    pub admin_listen: SocketAddr,
    /// What page tokens are sealed with; each process makes a key of its own without it.
    pub page_token_key: Option<SecretString>,
    /// How the program writes its log.
    pub log: Log,
    /// Limits of the gRPC side.
    pub server: Server,
    /// The upstreams by name. Empty only if there is no file and no variable names one.
    pub backends: BTreeMap<String, Backend>,
    /// What is allowed but should be seen, each with its origin.
    pub warnings: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 50051)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            page_token_key: None,
            log: Log::default(),
            server: Server::default(),
            backends: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }
}

/// How the program writes its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// A `tracing` filter directive such as `info` or `info,profile_gateway=debug`. Printable ASCII, not parsed here.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned() }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For human eyes.
    Text,
}

impl LogFormat {
    /// The word that stands for it in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}

/// Limits of the gRPC side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Deadline of a call that brings none.
    pub default_timeout: Duration,
    /// A longer deadline of a caller is cut to this; never below `default_timeout`.
    pub max_timeout: Duration,
    /// Largest request message, bytes.
    pub max_request_bytes: usize,
    /// Largest response message, bytes.
    pub max_response_bytes: usize,
    /// Calls in flight over all connections.
    pub max_concurrent_calls: usize,
    /// Connections open at a time.
    pub max_connections: usize,
    /// Age at which a connection is asked to end, so that load spreads again; `None` is never.
    pub max_connection_age: Option<Duration>,
    /// How long calls of such a connection may still run.
    pub max_connection_age_grace: Duration,
    /// Time between "not serving" and refusing connections, for load balancers to notice.
    pub drain_grace: Duration,
    /// Hard limit on a shutdown, counted after `drain_grace`.
    pub drain_timeout: Duration,
    /// Whether gRPC-Web is served beside gRPC.
    pub grpc_web: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            default_timeout: Duration::from_secs(45),
            max_timeout: Duration::from_secs(300),
            max_request_bytes: 4 * MIB,
            max_response_bytes: 16 * MIB,
            max_concurrent_calls: 1024,
            max_connections: 4096,
            max_connection_age: Some(Duration::from_secs(30 * 60)),
            max_connection_age_grace: Duration::from_secs(60),
            drain_grace: Duration::from_secs(3),
            drain_timeout: Duration::from_secs(30),
            grpc_web: false,
        }
    }
}

/// One upstream.
#[derive(Clone, Debug)]
pub struct Backend {
    /// `^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`, the key in [`Config::backends`].
    pub name: String,
    /// A name for people.
    pub display_name: Option<String>,
    /// One of the names of the schemas handed in.
    pub dialect: String,
    /// http or https, with a host, without userinfo, query or fragment. The path has no trailing slash, except that
    /// [`Url`] writes an empty path as `/`; [`Backend::base`] is without it in every case.
    pub base_url: Url,
    /// The dialect's own keys, as far as they were given.
    pub options: BTreeMap<String, OptionValue>,
    /// Time to establish a connection, TLS included.
    pub connect_timeout: Duration,
    /// Time from the start of a request to the headers of its answer. The default stands above the 30 s at which SFT
    /// itself gives up.
    pub header_timeout: Duration,
    /// Longest silence within an answer.
    pub body_timeout: Duration,
    /// Time for one HTTP request to its last byte. The default stands above the 30 s at which SFT itself gives up.
    pub request_timeout: Duration,
    /// Largest response body, bytes.
    pub max_response_bytes: usize,
    /// Requests in flight to this upstream.
    pub max_concurrent_calls: usize,
    /// Requests that wait for one of those to end; more are turned away.
    pub max_queued_calls: usize,
    /// How often a request is sent at most, where it may go again; 1 is never again.
    pub max_attempts: usize,
    /// When to stop calling this upstream for a while; `None` is never.
    pub circuit: Option<Circuit>,
    /// Requests started per second, where the dialect's own number is not the one that the vendor has agreed to; half as
    /// many may start at once.
    pub requests_per_second: Option<usize>,
    /// Time between two looks for changes, while somebody watches.
    pub watch_interval: Duration,
    /// What of its reads is kept, and how long.
    pub cache: Cache,
    /// Where the section begins, `gateway.toml:12` or a variable's name, for errors found later.
    pub origin: String,
}

impl Backend {
    /// `base_url` as text without a trailing slash, ready to put a path behind.
    pub fn base(&self) -> &str {
        self.base_url.as_str().trim_end_matches('/')
    }

    pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
    pub(super) const MAX_RESPONSE_BYTES: usize = 8 * MIB;
    pub(super) const MAX_CONCURRENT_CALLS: usize = 64;
    pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(35);
    pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);
    pub(super) const MAX_QUEUED_CALLS: usize = 256;
    pub(super) const MAX_ATTEMPTS: usize = 3;
    pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(30);
}

/// When to stop calling an upstream for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Failed requests without a success between them.
    pub failures: usize,
    /// Failed requests of all those of the window, in percent.
    pub failure_percent: usize,
    /// Requests in the window below which that percentage says nothing.
    pub min_calls: usize,
    /// Length of the sliding window.
    pub window: Duration,
    /// How long it is left alone at first; doubled each time that the trial after it fails.
    pub open: Duration,
    /// The longest that it is left alone; never below `open`.
    pub max_open: Duration,
}

impl Default for Circuit {
    fn default() -> Self {
        Self {
            failures: 10,
            failure_percent: 50,
            min_calls: 20,
            window: Duration::from_secs(30),
            open: Duration::from_secs(5),
            max_open: Duration::from_secs(60),
        }
    }
}

/// The cache of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Without it every read asks the upstream.
    pub enabled: bool,
    /// How long a profile or a list counts.
    pub ttl: Duration,
    /// How long the service catalogue counts.
    pub services_ttl: Duration,
    /// How long it is known that a profile does not exist.
    pub negative_ttl: Duration,
    /// How long after its time a value is still served while it is read anew.
    pub stale_while_revalidate: Duration,
    /// How long after its time a value is served where the upstream fails.
    pub stale_if_error: Duration,
    /// All entries, bytes.
    pub max_bytes: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            enabled: true,
            ttl: Duration::from_secs(30),
            services_ttl: Duration::from_secs(10 * 60),
            negative_ttl: Duration::from_secs(5),
            stale_while_revalidate: Duration::from_secs(30),
            stale_if_error: Duration::from_secs(10 * 60),
            max_bytes: 64 * MIB,
        }
    }
}

/// The value of a dialect's own key.
#[derive(Clone, Debug)]
pub enum OptionValue {
    /// Shown as it is.
    Plain(String),
    /// Never shown.
    Secret(SecretString),
}

/// What the rest of the program knows of settings; handed in, so that this room knows no other.
pub struct Known {
    /// The dialects that a backend may name.
    pub dialects: Vec<DialectSchema>,
    /// Says why a text is no log filter.
    pub log_level: fn(&str) -> Result<(), String>,
}

/// What a dialect's backend section may hold beyond the common keys.
pub struct DialectSchema {
    /// The value of `dialect`, such as `bics-sft`.
    pub name: &'static str,
    /// Its own keys. A common key (`base_url`, …) must not be among them: the common one would win.
    pub options: Vec<OptionSpec>,
    /// What is wrong with the options of a backend taken together, in words, such as a password without a user name.
    /// Asked only when each of them could be read.
    pub check: Box<OptionCheck>,
}

/// One key of a dialect.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// As written in the file.
    pub key: &'static str,
    /// Whether the value is never shown and may be `{ env = … }` or `{ file = … }`.
    pub secret: bool,
}

/// Says what is wrong with the options of one backend.
pub type OptionCheck = dyn Fn(&BTreeMap<String, OptionValue>) -> Vec<String>;
