//! What a vendor allows, as its dialect declares it and as the configuration may change it.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use serde_json::Value as Json;

use crate::settings::{Env, Kind, Node, Read, bounds::seconds, count, duration, plain_text};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A window shorter than a second would be a rate.
const LENGTH: RangeInclusive<Duration> = seconds(1)..=Duration::from_secs(366 * 24 * 60 * 60);
const REQUESTS: RangeInclusive<u32> = 1..=1_000_000_000;

/// The documented limits of a vendor.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Of requests to its API.
    pub rate: Option<RateLimit>,
    /// Of all requests, logins included, within minutes.
    pub requests: Option<WindowLimit>,
    /// Of all requests, logins included, within a month.
    pub monthly_requests: Option<WindowLimit>,
    /// Of logins and renewals of tokens.
    pub logins: Option<WindowLimit>,
}

/// A steady rate, and a burst.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Requests per second.
    pub per_second: NonZeroU32,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}

/// So many requests within any time of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimit {
    /// How many.
    pub requests: u32,
    /// The length of the window.
    pub length: Duration,
}

impl Limits {
    /// No limit is documented.
    pub const NONE: Self =
        Self { rate: None, requests: None, monthly_requests: None, logins: None };
}

/// A limit as the configuration has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<T> {
    /// The documented one of the dialect's vendor.
    Vendor,
    /// None.
    Off,
    /// Another one.
    Own(T),
}

impl<T> Chosen<T> {
    /// The limit in force.
    pub(super) fn or(self, vendor: Option<T>) -> Option<T> {
        match self {
            Self::Vendor => vendor,
            Self::Off => None,
            Self::Own(limit) => Some(limit),
        }
    }
}

/// A limit, or one of the words `vendor` and `off`.
pub(super) fn limit<K: Kind>(kind: K) -> impl Kind<Value = Chosen<K::Value>> {
    OrVendor(kind)
}

/// A number of requests and the length of their window, such as `2000/5m`.
pub(super) fn window() -> impl Kind<Value = WindowLimit> {
    Window
}

struct OrVendor<K>(K);

impl<K: Kind> Kind for OrVendor<K> {
    type Value = Chosen<K::Value>;

    fn read(&self, node: &Node, env: &Env) -> Read<Self::Value> {
        match plain_text(64).read(node, env).as_deref() {
            Ok("vendor") => Ok(Chosen::Vendor),
            Ok("off") => Ok(Chosen::Off),
            _ => self.0.read(node, env).map(Chosen::Own).map_err(|why| {
                format!("{why} (`off` disables it, `vendor` is the documented limit)")
            }),
        }
    }

    fn show(&self, value: &Self::Value) -> Json {
        match value {
            Chosen::Vendor => "vendor".into(),
            Chosen::Off => "off".into(),
            Chosen::Own(own) => self.0.show(own),
        }
    }

    fn form(&self) -> &'static str {
        self.0.form()
    }

    fn bounds(&self) -> String {
        format!("{}, `vendor`, or `off`", self.0.bounds())
    }
}

struct Window;

impl Kind for Window {
    type Value = WindowLimit;

    fn read(&self, node: &Node, env: &Env) -> Read<WindowLimit> {
        let wanted = "must be a number of requests and a time such as `2000/5m`";
        let text = plain_text(64).read(node, env).map_err(|why| format!("{why}, {wanted}"))?;
        let parts = text.split_once('/').and_then(|(requests, length)| {
            let requests = requests.trim().parse().ok()?;
            Some((requests, humantime::parse_duration(length.trim()).ok()?))
        });
        let (requests, length) = parts.ok_or_else(|| format!("{wanted}, got `{text}`"))?;
        if !REQUESTS.contains(&requests) {
            return Err(format!("must allow {} requests", count(REQUESTS).bounds()));
        }
        if !LENGTH.contains(&length) {
            return Err(format!("must have a time of {}", duration(LENGTH).bounds()));
        }
        Ok(WindowLimit { requests, length })
    }

    fn show(&self, limit: &WindowLimit) -> Json {
        limit.to_string().into()
    }

    fn form(&self) -> &'static str {
        "requests/duration"
    }

    fn bounds(&self) -> String {
        "`1/1s` to `1000000000/366days`".to_owned()
    }
}

impl std::fmt::Display for WindowLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requests, length } = self;
        // A month of the library is a twelfth of a year.
        let days = length.as_secs() / DAY.as_secs();
        match *length == DAY * u32::try_from(days).unwrap_or_default() {
            true => write!(f, "{requests}/{days}days"),
            false => write!(f, "{requests}/{}", humantime::format_duration(*length)),
        }
    }
}
