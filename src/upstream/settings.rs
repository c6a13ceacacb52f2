//! The settings of an upstream: how it is reached, how many requests it gets, and when calls to it
//! stop.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use serde_json::{Map, Value as Json};

use super::{
    base_url::{BaseUrl, base_url},
    connection::{ProxySettings, TlsSettings},
    limits::{Chosen, Limits, RateLimit, WindowLimit, limit, window},
};
use crate::settings::{
    ChangedKeys, Kind as _, Row, Section, Settings,
    bounds::{CONCURRENCY, MESSAGE, MIB, TIMEOUT, hours, minutes, seconds},
    bytes, count, duration, flag, on_off, settings,
};

/// The same as [`CONCURRENCY`] for another type.
const MANY: RangeInclusive<u32> = 1..=1_000_000;
/// Without a queue, calls above the limit are refused at once.
const QUEUE: RangeInclusive<usize> = 0..=1_000_000;
/// More than ten attempts are pointless.
const ATTEMPTS: RangeInclusive<u32> = 1..=10;
const PERCENT: RangeInclusive<u32> = 1..=100;
/// Below a second, hardly a connection would be used twice.
const CONNECTION_AGE: RangeInclusive<Duration> = seconds(1)..=hours(24);
/// A window of less than a second would contain too few calls.
const WINDOW: RangeInclusive<Duration> = seconds(1)..=seconds(3600);

settings! {
    /// How an upstream is called.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UpstreamSettings {
        /// What comes before the paths of the upstream's API. A trailing slash is dropped.
        base_url: BaseUrl = BaseUrl::default(), base_url();
        /// Whether `base_url` may be `http://` to another machine. Credentials and profiles then
        /// travel unencrypted, and there is a warning.
        allow_plain_http: bool = false, flag();
        /// Time to establish a connection, TLS included.
        connect_timeout: Duration = seconds(5), duration(TIMEOUT);
        /// Age of the connections for reads at which fresh ones take their place, -10 %, so that
        /// the host of `base_url` is looked up again. Requests on old ones end as they would.
        max_connection_age: Option<Duration> = Some(minutes(5)), duration(CONNECTION_AGE).or_off();
        /// Time from the start of a request to the headers of its response, connecting included.
        ///
        /// The default is above the 30 s after which SFT itself gives up.
        header_timeout: Duration = seconds(35), duration(TIMEOUT);
        /// Longest silence within a response.
        body_timeout: Duration = seconds(10), duration(TIMEOUT);
        /// Time for one HTTP request to the last byte of its response.
        ///
        /// The default is above the 30 s after which SFT itself gives up.
        request_timeout: Duration = seconds(40), duration(TIMEOUT);
        /// Largest response body, after decompression.
        max_response_bytes: usize = 8 * MIB, bytes(MESSAGE);
        /// Requests in flight to this upstream; more wait.
        max_concurrent_calls: usize = 64, count(CONCURRENCY);
        /// Requests that wait for the rate or for one in flight to end; more are refused at once
        /// with `OVERLOADED`.
        max_queued_calls: usize = 256, count(QUEUE);
        /// Attempts of a request that may be retried; `1` disables retries.
        max_attempts: u32 = 3, count(ATTEMPTS);
        /// Requests started per second, and half as many at once; more wait until their deadline.
        /// `vendor` is the documented limit of the dialect's vendor.
        requests_per_second: Chosen<u32> = Chosen::Vendor, limit(count(MANY));
        /// Requests within a time such as `2000/5m`, logins included; more are refused with
        /// `UPSTREAM_THROTTLED` if they cannot wait.
        request_limit: Chosen<WindowLimit> = Chosen::Vendor, limit(window());
        /// The same within a long time, such as `10000000/31days`, counted since the start of the
        /// process.
        monthly_request_limit: Chosen<WindowLimit> = Chosen::Vendor, limit(window());
        /// The same for logins, and requests that renew tokens.
        login_limit: Chosen<WindowLimit> = Chosen::Vendor, limit(window());
        /// Longest time for which a `Retry-After` of the upstream pauses all requests to it.
        max_pause: Duration = seconds(60), duration(TIMEOUT);
        ..circuit: Option<Thresholds>, "When to stop sending for a while; `None` for never.";
        ..proxy: ProxySettings, "The proxy that connections go through.";
        ..tls in "tls": TlsSettings, "How TLS is set up.";
    }
    check travels_as_said;
}

/// The address, TLS, and the proxy fit together, and nothing but what stays on this machine goes
/// unencrypted unless the operator says so.
fn travels_as_said(settings: &UpstreamSettings, section: &mut Section<'_>) {
    if settings.base_url.is_plain() && settings.tls != TlsSettings::default() {
        section.refuse("tls", "has no use, because `base_url` begins with http:");
    }
    if settings.tls.server_name.is_some() && settings.has_proxy() {
        section.refuse(
            "proxy",
            "asks for the server's own name: write it in `base_url`, in place of \
             `tls.server_name`",
        );
    }
    if settings.base_url.is_exposed() && !settings.allow_plain_http {
        section.refuse(
            "base_url",
            "is plain http to another machine, where credentials and profiles would travel \
             unencrypted: use https, or write `allow_plain_http = true`",
        );
    }
}

impl UpstreamSettings {
    fn has_proxy(&self) -> bool {
        matches!(self.proxy.in_force(self.base_url.as_str()), Ok(Some(_)))
    }

    /// The limits in force: the configured ones, or else the vendor's.
    #[must_use]
    pub fn limits(&self, vendor: Limits) -> Limits {
        let own = |per_second| {
            let per_second = NonZeroU32::new(per_second)?;
            let burst = NonZeroU32::new(per_second.get() / 2).unwrap_or(NonZeroU32::MIN);
            Some(RateLimit { per_second, burst })
        };
        Limits {
            rate: match self.requests_per_second {
                Chosen::Vendor => vendor.rate,
                Chosen::Off => None,
                Chosen::Own(per_second) => own(per_second),
            },
            requests: self.request_limit.or(vendor.requests),
            monthly_requests: self.monthly_request_limit.or(vendor.monthly_requests),
            logins: self.login_limit.or(vendor.logins),
        }
    }
}

settings! {
    /// Whether there is a circuit breaker.
    struct Switch {
        /// Whether requests to an upstream that keeps failing are suspended for a while.
        circuit_breaker: bool = true, on_off();
    }
}

settings! {
    /// When the circuit breaker opens, and for how long.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Thresholds {
        /// Failures without a success in between that open the circuit.
        failures as circuit_failures: u32 = 10, count(MANY);
        /// Failures among all requests of the window that open the circuit, in percent.
        percent as circuit_failure_percent: u32 = 50, count(PERCENT);
        /// Requests that the window must hold before that percentage counts.
        min_calls as circuit_min_calls: u32 = 20, count(MANY);
        /// Length of the sliding window.
        window as circuit_window: Duration = seconds(30), duration(WINDOW);
        /// How long the circuit stays open the first time; doubled each time that the trial request
        /// after it fails.
        open as circuit_open: Duration = seconds(5), duration(TIMEOUT);
        /// The longest time that the circuit stays open. Not below `circuit_open`.
        max_open as circuit_max_open: Duration = seconds(60), duration(TIMEOUT);
    }
    check open_times_are_ordered;
}

fn open_times_are_ordered(thresholds: &Thresholds, section: &mut Section<'_>) {
    let (max, open) = (thresholds.max_open, thresholds.open);
    section.not_below(("circuit_max_open", max), ("circuit_open", open));
}

/// The thresholds are in force only while the breaker is on.
impl Settings for Option<Thresholds> {
    fn defaults() -> Self {
        Switch::defaults().circuit_breaker.then(Thresholds::defaults)
    }

    fn read(section: &mut Section<'_>) -> Self {
        let switch = Switch::read(section);
        let thresholds = Thresholds::read(section);
        switch.circuit_breaker.then_some(thresholds)
    }

    fn compare(&self, new: &Self, keys: &mut ChangedKeys) {
        let switch = |of: &Self| Switch { circuit_breaker: of.is_some() };
        switch(self).compare(&switch(new), keys);
        if let (Some(old), Some(new)) = (self, new) {
            old.compare(new, keys);
        }
    }

    fn show(&self, to: &mut Map<String, Json>) {
        Switch { circuit_breaker: self.is_some() }.show(to);
        if let Some(thresholds) = self {
            thresholds.show(to);
        }
    }

    fn rows() -> Vec<Row> {
        [Switch::rows(), Thresholds::rows()].into_iter().flatten().collect()
    }
}
