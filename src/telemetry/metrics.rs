//! What the program counts, under which names. Holds no clock: durations are told to it.
//!
//! Labels are bounded: callers pass names from the contract, from the configuration or from
//! an enum, never text from a request.

use std::{sync::OnceLock, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::{
    cache::{BackendCache, CacheMetrics},
    upstream::UpstreamMetrics,
    watch::WatchMetrics,
};

/// The content type of [`Metrics::encode`]: OpenMetrics text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: from a cache hit to the longest deadline that callers use.
pub(super) const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    call_duration: Family<MethodLabels, Histogram>,
    calls_in_flight: Gauge,
    calls_shed: Counter,
    connections: Gauge,
    upstream_requests: Family<UpstreamLabels, Counter>,
    upstream_duration: Family<BackendLabels, Histogram>,
    upstream_logins: Family<LoginLabels, Counter>,
    caches: CacheMetrics,
    /// What happens around the requests to upstreams.
    pub upstreams: UpstreamMetrics,
    /// What happens around streams of changes.
    pub watches: WatchMetrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: String,
    code: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    backend: String,
    operation: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    backend: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    backend: String,
    outcome: String,
}

/// Counts the calls of one method.
///
/// What nearly every call needs is looked up once and kept: a lookup by labels allocates, hashes and
/// locks. Not before the first call, so that methods that are never called have no lines.
#[derive(Debug)]
pub struct CallMetrics {
    method: String,
    calls: Family<CallLabels, Counter>,
    call_duration: Family<MethodLabels, Histogram>,
    in_flight: Gauge,
    succeeded: OnceLock<Counter>,
    duration: OnceLock<Histogram>,
}

impl CallMetrics {
    /// A gRPC call came in.
    pub fn started(&self) {
        self.in_flight.inc();
    }

    /// A gRPC call is over. `reason` is empty when it succeeded.
    pub fn finished(&self, code: &'static str, reason: &'static str, duration: Duration) {
        self.in_flight.dec();
        let histogram = self.duration.get_or_init(|| {
            let labels = MethodLabels { method: self.method.clone() };
            self.call_duration.get_or_create_owned(&labels)
        });
        histogram.observe(duration.as_secs_f64());
        if code == "OK" && reason.is_empty() {
            self.succeeded.get_or_init(|| self.count(code, reason)).inc();
        } else {
            self.count(code, reason).inc();
        }
    }

    fn count(&self, code: &'static str, reason: &'static str) -> Counter {
        let labels = CallLabels { method: self.method.clone(), code, reason };
        self.calls.get_or_create_owned(&labels)
    }
}

impl Metrics {
    /// All metrics at zero. `version` is that of the program.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let seconds = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("profile_gateway"),
            calls: Family::default(),
            call_duration: Family::new_with_constructor(seconds),
            calls_in_flight: Gauge::default(),
            calls_shed: Counter::default(),
            connections: Gauge::default(),
            upstream_requests: Family::default(),
            upstream_duration: Family::new_with_constructor(seconds),
            upstream_logins: Family::default(),
            caches: CacheMetrics::new(),
            upstreams: UpstreamMetrics::default(),
            watches: WatchMetrics::default(),
        };
        metrics.register(version);
        metrics
    }

    /// Where the calls of a method are counted.
    #[must_use]
    pub fn calls_of(&self, method: &str) -> CallMetrics {
        CallMetrics {
            method: method.to_owned(),
            calls: self.calls.clone(),
            call_duration: self.call_duration.clone(),
            in_flight: self.calls_in_flight.clone(),
            succeeded: OnceLock::new(),
            duration: OnceLock::new(),
        }
    }

    /// A gRPC call was turned away because too many were running.
    pub fn call_shed(&self) {
        self.calls_shed.inc();
    }

    /// gRPC calls that are running, streams included.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        usize::try_from(self.calls_in_flight.get()).unwrap_or(0)
    }

    /// A client connected to the gRPC port.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// A connection to the gRPC port is closed.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// One HTTP request to an upstream is over, retries counting one by one.
    pub fn upstream_request(
        &self,
        backend: &str,
        operation: &str,
        outcome: &str,
        duration: Duration,
    ) {
        let labels = UpstreamLabels {
            backend: backend.to_owned(),
            operation: operation.to_owned(),
            outcome: outcome.to_owned(),
        };
        self.upstream_requests.get_or_create(&labels).inc();
        let labels = BackendLabels { backend: backend.to_owned() };
        self.upstream_duration.get_or_create(&labels).observe(duration.as_secs_f64());
    }

    /// The gateway logged in at an upstream, or could not.
    pub fn upstream_login(&self, backend: &str, outcome: &str) {
        let labels = LoginLabels { backend: backend.to_owned(), outcome: outcome.to_owned() };
        self.upstream_logins.get_or_create(&labels).inc();
    }

    /// The counts of one backend's cache.
    #[must_use]
    pub fn cache(&self, backend: &str) -> BackendCache {
        self.caches.backend(backend)
    }

    /// Has the size of a backend's cache, in entries and bytes, asked for whenever metrics are read.
    pub fn watch_cache(
        &self,
        backend: &str,
        size: impl Fn() -> (u64, u64) + Send + Sync + 'static,
    ) {
        self.caches.watch(backend, Box::new(size));
    }

    /// All metrics as [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        self.caches.measure();
        let mut out = String::new();
        if text::encode(&mut out, &self.registry).is_err() {
            // Writing to a string fails only when a label refuses to be written.
            tracing::error!("metrics could not be encoded");
        }
        out
    }

    // The library appends `_total` to counters and `_info` to facts.
    fn register(&mut self, version: &str) {
        let to = &mut self.registry;
        to.register("calls", "gRPC calls that are over", self.calls.clone());
        to.register(
            "call_duration_seconds",
            "Time from a call's headers to the end of its answer",
            self.call_duration.clone(),
        );
        to.register("calls_in_flight", "gRPC calls that are running", self.calls_in_flight.clone());
        to.register(
            "calls_shed",
            "gRPC calls turned away because too many were running",
            self.calls_shed.clone(),
        );
        to.register("connections", "Open connections to the gRPC port", self.connections.clone());
        to.register(
            "upstream_requests",
            "HTTP requests to upstreams that are over",
            self.upstream_requests.clone(),
        );
        to.register(
            "upstream_request_duration_seconds",
            "Time of one HTTP request to an upstream",
            self.upstream_duration.clone(),
        );
        to.register(
            "upstream_logins",
            "Logins of the gateway at upstreams",
            self.upstream_logins.clone(),
        );
        self.caches.register(to);
        self.upstreams.register(to);
        self.watches.register(to);
        let info = Info::new([("version", version.to_owned())]);
        to.register("build", "The running program", info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_contract_is_there() {
        let metrics = Metrics::new("1.2.3");
        let calls = metrics.calls_of("a.B/C");
        calls.started();
        calls.finished("OK", "", Duration::from_millis(3));
        calls.started();
        metrics.call_shed();
        metrics.connection_opened();
        metrics.upstream_request("sft", "get", "ok", Duration::from_secs(1));
        metrics.upstream_login("sft", "ok");
        let text = metrics.encode();
        for line in [
            r#"profile_gateway_calls_total{method="a.B/C",code="OK",reason=""} 1"#,
            r#"profile_gateway_call_duration_seconds_count{method="a.B/C"} 1"#,
            "profile_gateway_calls_in_flight 1",
            "profile_gateway_calls_shed_total 1",
            "profile_gateway_connections 1",
            r#"profile_gateway_upstream_requests_total{backend="sft",operation="get",outcome="ok"} 1"#,
            r#"profile_gateway_upstream_request_duration_seconds_sum{backend="sft"} 1.0"#,
            r#"profile_gateway_upstream_logins_total{backend="sft",outcome="ok"} 1"#,
            r#"profile_gateway_build_info{version="1.2.3"} 1"#,
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
