//! From raw to checked: the top level, `[log]` and `[server]`.
//!
//! Bounds stand here beside the keys; defaults stand with the types. Backends have their own file.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::backend;
use super::raw::Raw;
use super::types::{Config, Known, Log, LogFormat, Server};
use crate::settings::{self, Errors, Node, Read, Section, quoted};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Timeouts: below a millisecond nothing can answer, above an hour a caller is gone.
pub(super) const TIMEOUT: RangeInclusive<Duration> = MS..=HOUR;
/// Waits that may be none at all.
const GRACE: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// Balancers notice within minutes; a longer wait is a deployment that hangs.
const DRAIN_GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(300);
const CONNECTION_AGE: RangeInclusive<Duration> = SECOND..=Duration::from_secs(24 * 3600);
/// Less than 1 KiB could not hold one profile; more than 1 GiB in one message could exhaust the process.
pub(super) const BYTES: RangeInclusive<usize> = 1024..=1024 * 1024 * 1024;
pub(super) const CONCURRENCY: RangeInclusive<usize> = 1..=1_000_000;

/// The whole configuration. What is wrong goes to `errors`, and then the answer must not be used.
pub(super) fn config(
    raw: Raw,
    env: &[(String, String)],
    known: &Known,
    errors: &mut Errors,
) -> Config {
    let default = Config::default();
    let mut warnings = Vec::new();
    let mut root = Section::new(String::new(), raw.origin, raw.root, errors);
    let (listen, admin_listen) = addresses(&mut root, &default);
    let page_token_key = root.read("page_token_key", |node| page_token_key(node, env));
    let log = log(root.child("log"), known.log_level);
    let server = server(root.child("server"));
    let before = root.mistakes();
    let mut section = root.child("backends");
    // Not if `backends` is no table: that was said already.
    if raw.from_file && section.is_empty() && section.mistakes() == before {
        section.fault("no backend is configured, at least one `[backends.NAME]` is needed");
    }
    let backends = backend::all(section, env, &known.dialects, &mut warnings);
    root.finish();
    Config { listen, admin_listen, page_token_key, log, server, backends, warnings }
}

/// Whoever can guess the key can make tokens; they hold positions only, so that this is all there is to
/// win.
fn page_token_key(node: &Node, env: &[(String, String)]) -> Read<SecretString> {
    const LEAST: usize = 16;
    let key = settings::secret(node, env)?;
    if key.expose_secret().len() < LEAST {
        return Err(format!("must have at least {LEAST} bytes"));
    }
    Ok(key)
}

fn addresses(root: &mut Section<'_>, default: &Config) -> (SocketAddr, SocketAddr) {
    let origin = root.origin_of(&["admin_listen", "listen"]);
    let before = root.mistakes();
    let listen = root.read("listen", settings::address).unwrap_or(default.listen);
    let admin = root.read("admin_listen", settings::address).unwrap_or(default.admin_listen);
    // A default in place of a wrong value says nothing about the two.
    if root.mistakes() == before && clash(listen, admin) {
        let message =
            format!("`admin_listen` ({admin}) must not share its port with `listen` ({listen})");
        root.fault_at(&origin, message);
    }
    (listen, admin)
}

/// Whether one of the two could not be bound: the same address, or one that covers the other.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, other: SocketAddr| {
        // `[::]` takes IPv4 too unless the system is told otherwise.
        wide.ip().is_unspecified() && (wide.is_ipv6() || other.is_ipv4())
    };
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

fn log(mut section: Section<'_>, is_filter: fn(&str) -> Result<(), String>) -> Log {
    let default = Log::default();
    let level = |node: &Node| {
        let level = log_level(node)?;
        is_filter(&level).map_err(|why| format!("is no log filter: {why}"))?;
        Ok(level)
    };
    let log = Log {
        format: section.read("format", log_format).unwrap_or(default.format),
        level: section.read("level", level).unwrap_or(default.level),
    };
    section.finish();
    log
}

fn log_format(node: &Node) -> Read<LogFormat> {
    let text = settings::text(node, 64)?;
    [LogFormat::Auto, LogFormat::Json, LogFormat::Text]
        .into_iter()
        .find(|format| format.as_str() == text)
        .ok_or_else(|| format!("must be `auto`, `json` or `text`, got {}", quoted(text)))
}

/// Only the characters: what the directives mean is known to the log, which parses them.
fn log_level(node: &Node) -> Read<String> {
    let text = settings::text(node, 1024)?;
    if text.trim().is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err("must be a log filter such as `info` or `info,hyper=warn`, in ASCII".to_owned());
    }
    Ok(text.to_owned())
}

fn server(mut section: Section<'_>) -> Server {
    let s = &mut section;
    let default = Server::default();
    let origin = s.origin_of(&["max_timeout", "default_timeout"]);
    let before = s.mistakes();
    let default_timeout = s.duration("default_timeout", default.default_timeout, TIMEOUT);
    let max_timeout = s.duration("max_timeout", default.max_timeout, TIMEOUT);
    if s.mistakes() == before && max_timeout < default_timeout {
        let show = |duration| humantime::format_duration(duration);
        let (max, least) = (show(max_timeout), show(default_timeout));
        let message = format!(
            "`server.max_timeout` ({max}) must not be below `server.default_timeout` ({least})"
        );
        s.fault_at(&origin, message);
    }
    let server = Server {
        default_timeout,
        max_timeout,
        max_request_bytes: s.bytes("max_request_bytes", default.max_request_bytes, BYTES),
        max_response_bytes: s.bytes("max_response_bytes", default.max_response_bytes, BYTES),
        max_concurrent_calls: s.count(
            "max_concurrent_calls",
            default.max_concurrent_calls,
            CONCURRENCY,
        ),
        max_connections: s.count("max_connections", default.max_connections, CONCURRENCY),
        max_connection_age: s
            .read("max_connection_age", |node| settings::duration_or_off(node, &CONNECTION_AGE))
            .unwrap_or(default.max_connection_age),
        max_connection_age_grace: s.duration(
            "max_connection_age_grace",
            default.max_connection_age_grace,
            GRACE,
        ),
        drain_grace: s.duration("drain_grace", default.drain_grace, DRAIN_GRACE),
        drain_timeout: s.duration("drain_timeout", default.drain_timeout, TIMEOUT),
        grpc_web: s.flag("grpc_web", default.grpc_web),
    };
    section.finish();
    server
}
