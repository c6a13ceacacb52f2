//! From raw to checked: `[backends.NAME]`.
//!
//! Knows the keys that every backend has. A dialect's own keys come from its schema; which of them the dialect needs
//! is for the dialect to say.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use url::{Host, Url};

use super::check::{BYTES, CONCURRENCY, TIMEOUT};
use super::circuit;
use super::types::{Backend, DialectSchema, OptionValue};
use crate::settings::{self, Errors, Node, Read, Section, Value, closest, quoted};

/// No queue is a queue too: then calls above the limit are turned away at once.
const QUEUE: RangeInclusive<usize> = 0..=1_000_000;
/// A request that failed ten times fails.
const ATTEMPTS: RangeInclusive<usize> = 1..=10;
/// Each look lists the whole account.
const WATCH_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const MAX_URL: usize = 2048;
const MAX_OPTION: usize = 4096;
const MAX_DISPLAY_NAME: usize = 128;
const COMMON: &str = "every backend takes: dialect, base_url, display_name, connect_timeout, header_timeout, \
    body_timeout, request_timeout, max_response_bytes, max_concurrent_calls, max_queued_calls, max_attempts, \
    requests_per_second, circuit_breaker, circuit_failures, circuit_failure_percent, circuit_min_calls, circuit_window, \
    circuit_open, circuit_max_open, watch_interval, cache";

/// Every backend that could be read.
pub(super) fn all(
    section: Section<'_>,
    env: &[(String, String)],
    dialects: &[DialectSchema],
    warnings: &mut Vec<String>,
) -> BTreeMap<String, Backend> {
    let (entries, errors) = section.into_entries();
    let mut backends = BTreeMap::new();
    for (name, node) in entries {
        let context = Context { env, dialects };
        if let Some(backend) = one(&name, node, &context, errors) {
            warnings.extend(warning(&backend));
            backends.insert(name, backend);
        }
    }
    backends
}

struct Context<'a> {
    env: &'a [(String, String)],
    dialects: &'a [DialectSchema],
}

fn one(name: &str, node: Node, context: &Context<'_>, errors: &mut Errors) -> Option<Backend> {
    check_name(name, &node, errors);
    let path = format!("backends.{name}");
    let Value::Table(table) = node.value else {
        let message = format!("{} must be a section, got {}", quoted(&path), node.value.kind());
        errors.push(&node.origin, message);
        return None;
    };
    let origin = node.origin.to_string();
    let mut section = Section::new(path, node.origin, table, errors);
    let s = &mut section;
    let schema = dialect(s, context.dialects);
    let base_url = required(s, "base_url", "an http or https URL", base_url);
    let display_name = s.text("display_name", MAX_DISPLAY_NAME);
    let connect_timeout = s.duration("connect_timeout", Backend::CONNECT_TIMEOUT, TIMEOUT);
    let header_timeout = s.duration("header_timeout", Backend::HEADER_TIMEOUT, TIMEOUT);
    let body_timeout = s.duration("body_timeout", Backend::BODY_TIMEOUT, TIMEOUT);
    let request_timeout = s.duration("request_timeout", Backend::REQUEST_TIMEOUT, TIMEOUT);
    let max_response_bytes = s.bytes("max_response_bytes", Backend::MAX_RESPONSE_BYTES, BYTES);
    let seats = s.count("max_concurrent_calls", Backend::MAX_CONCURRENT_CALLS, CONCURRENCY);
    let max_queued_calls = s.count("max_queued_calls", Backend::MAX_QUEUED_CALLS, QUEUE);
    let max_attempts = s.count("max_attempts", Backend::MAX_ATTEMPTS, ATTEMPTS);
    let circuit = circuit::read(s);
    let rate = s.read("requests_per_second", |node| settings::count(node, &CONCURRENCY));
    let watch_interval = s.duration("watch_interval", Backend::WATCH_INTERVAL, WATCH_INTERVAL);
    let cache = super::cache::cache(s.child("cache"));
    let options = match schema {
        Some(schema) => options(s, schema, context.env),
        None => guess_options(s, context),
    };
    section.finish_with(&schema.map_or_else(|| COMMON.to_owned(), takes));
    Some(Backend {
        name: name.to_owned(),
        display_name,
        dialect: schema?.name.to_owned(),
        base_url: base_url?,
        options,
        connect_timeout,
        header_timeout,
        body_timeout,
        request_timeout,
        max_response_bytes,
        max_concurrent_calls: seats,
        max_queued_calls,
        max_attempts,
        circuit,
        requests_per_second: rate,
        watch_interval,
        cache,
        origin,
    })
}

fn check_name(name: &str, node: &Node, errors: &mut Errors) {
    if !is_name(name) {
        let message = format!(
            "the backend name {} must be 1 to 63 lower-case letters, digits and hyphens, beginning with a letter \
             and not ending with a hyphen",
            quoted(name)
        );
        errors.push(&node.origin, message);
    }
}

/// `^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`: a DNS label that begins with a letter.
fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn required<T>(
    section: &mut Section<'_>,
    key: &'static str,
    what: &str,
    read: impl FnOnce(&Node) -> Read<T>,
) -> Option<T> {
    if !section.has(key) {
        let message = format!("{} is missing, {what} is needed", section.name(key));
        section.fault(message);
    }
    section.read(key, read)
}

fn dialect<'d>(
    section: &mut Section<'_>,
    dialects: &'d [DialectSchema],
) -> Option<&'d DialectSchema> {
    let names: Vec<&'static str> = dialects.iter().map(|schema| schema.name).collect();
    let known = format!("one of {}", names.join(", "));
    required(section, "dialect", &known, |node| {
        let name = settings::text(node, 64)?;
        dialects.iter().find(|schema| schema.name == name).ok_or_else(|| {
            let hint = closest(name, names.iter().copied())
                .map_or_else(String::new, |close| format!(", did you mean {}?", quoted(close)));
            format!("must be {known}, got {}{hint}", quoted(name))
        })
    })
}

fn takes(schema: &DialectSchema) -> String {
    let own: Vec<&str> = schema.options.iter().map(|option| option.key).collect();
    format!("dialect {} takes: {}; {COMMON}", quoted(schema.name), own.join(", "))
}

fn options(
    section: &mut Section<'_>,
    schema: &DialectSchema,
    env: &[(String, String)],
) -> BTreeMap<String, OptionValue> {
    let mut options = BTreeMap::new();
    let before = section.mistakes();
    for spec in &schema.options {
        let value = if spec.secret {
            section.read(spec.key, |node| settings::secret(node, env)).map(OptionValue::Secret)
        } else {
            section.text(spec.key, MAX_OPTION).map(OptionValue::Plain)
        };
        if let Some(value) = value {
            options.insert(spec.key.to_owned(), value);
        }
    }
    // An option that could not be read would only be called missing on top.
    if section.mistakes() == before {
        for fault in (schema.check)(&options) {
            let message = format!("{}: {fault}", section.path());
            section.fault(message);
        }
    }
    options
}

/// Without a dialect the keys of all of them count as known, lest one mistake hide behind a dozen false ones.
fn guess_options(
    section: &mut Section<'_>,
    context: &Context<'_>,
) -> BTreeMap<String, OptionValue> {
    for spec in context.dialects.iter().flat_map(|schema| &schema.options) {
        section.read(spec.key, |_| Ok(()));
    }
    BTreeMap::new()
}

/// The URL itself is in no message: a password may stand anywhere in a wrong one.
fn base_url(node: &Node) -> Read<Url> {
    const WANTED: &str = "must be an http or https URL such as `https://sft.example.com`";
    let text = settings::text(node, MAX_URL).map_err(|why| format!("{why}, {WANTED}"))?;
    let scheme_end = text.find("://").map_or(0, |index| index + 3);
    let (scheme, rest) = text.split_at_checked(scheme_end).unwrap_or(("", text));
    if !["http://", "https://"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(WANTED.to_owned());
    }
    // The parser forgives both, and would then read another host than the one that was meant.
    if rest.starts_with('/') || text.contains(|c: char| c == '\\' || c.is_whitespace()) {
        return Err(format!("{WANTED}, without spaces, backslashes or a third slash"));
    }
    // Anywhere, not only before the host: a password with a slash in it pushes its `@` into the path.
    if rest.contains('@') {
        return Err(
            "must not hold a user name or password (no `@`), the dialect has keys for them"
                .to_owned(),
        );
    }
    let mut url = Url::parse(text).map_err(|error| format!("{WANTED}: {error}"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not hold a query (`?`) or a fragment (`#`)".to_owned());
    }
    if !url.has_host() || url.port() == Some(0) {
        return Err(format!("{WANTED}, with a host and no port 0"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn warning(backend: &Backend) -> Option<String> {
    let loopback = match backend.base_url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    (backend.base_url.scheme() == "http" && !loopback).then(|| {
        format!(
            "{}: backend `{}` is reached by plain http, credentials would travel unencrypted",
            backend.origin, backend.name
        )
    })
}
