//! What the server counts: calls and connections.

mod ports;
mod tls;

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use self::ports::PortsMetrics;
pub(crate) use self::{
    ports::{AdminRefusal, AdminRefusals, Closed, Port, PortMetrics},
    tls::{CertificateMetrics, HandshakeFailure, HandshakeMetrics},
};
use crate::telemetry::{Registry, buckets::CALL_SECONDS, labels};

/// The metrics of the server. Clones share them.
#[derive(Debug, Clone)]
pub struct ServerMetrics {
    calls: Family<CallLabels, Counter>,
    call_duration: Family<MethodLabels, Histogram>,
    gateway_duration: Family<MethodLabels, Histogram>,
    calls_in_flight: Gauge,
    calls_shed: Counter,
    connections: Gauge,
    ready: Gauge,
    ports: PortsMetrics,
    handshakes: HandshakeMetrics,
    certificates: CertificateMetrics,
}

labels! {
    struct CallLabels {
        method: Arc<str>,
        code: &'static str,
        reason: &'static str,
        backend: Arc<str>,
    }
}

labels! {
    struct MethodLabels { method: Arc<str>, backend: Arc<str> }
}

/// Counts the calls of one method.
///
/// The metrics are looked up once and kept, because a lookup by labels hashes and locks.
#[derive(Debug)]
pub(super) struct CallMetrics {
    method: Arc<str>,
    all: ServerMetrics,
    /// In the order of their first calls. There are as many as backends are configured, and one for
    /// calls of no backend.
    of_backends: RwLock<Vec<Arc<BackendCalls>>>,
}

/// The calls of one method that are for one backend.
#[derive(Debug)]
struct BackendCalls {
    backend: Arc<str>,
    succeeded: Counter,
    failed: RwLock<Vec<Failures>>,
    duration: Histogram,
    gateway_duration: Histogram,
}

/// Those of them that failed in one way.
#[derive(Debug)]
struct Failures {
    code: &'static str,
    reason: &'static str,
    count: Counter,
}

impl CallMetrics {
    /// A gRPC call arrived.
    pub(super) fn started(&self) {
        self.all.calls_in_flight.inc();
    }

    /// A gRPC call is over. `backend` is the configured one that it was for, `-` for all, and empty
    /// if it was for none. `reason` is empty when it succeeded. `upstream` is the time of its
    /// requests to upstreams: of those at once, no more counts than the call took.
    pub(super) fn finished(
        &self,
        backend: &str,
        (code, reason): (&'static str, &'static str),
        duration: Duration,
        upstream: Duration,
    ) {
        self.all.calls_in_flight.dec();
        let calls = self.of(backend);
        calls.duration.observe(duration.as_secs_f64());
        calls.gateway_duration.observe(duration.saturating_sub(upstream).as_secs_f64());
        if code == "OK" && reason.is_empty() {
            calls.succeeded.inc();
        } else {
            self.failed(&calls, code, reason);
        }
    }

    /// Those that are for this backend, which are exported from now on.
    fn of(&self, backend: &str) -> Arc<BackendCalls> {
        let is_this = |one: &&Arc<BackendCalls>| &*one.backend == backend;
        if let Some(known) = self.of_backends.read().iter().find(is_this) {
            return Arc::clone(known);
        }
        let mut all = self.of_backends.write();
        // Another call may have been faster.
        if let Some(known) = all.iter().find(is_this) {
            return Arc::clone(known);
        }
        let backend: Arc<str> = backend.into();
        let labels =
            MethodLabels { method: Arc::clone(&self.method), backend: Arc::clone(&backend) };
        let calls = Arc::new(BackendCalls {
            succeeded: self.count(&backend, "OK", ""),
            failed: RwLock::default(),
            duration: self.all.call_duration.get_or_create_owned(&labels),
            gateway_duration: self.all.gateway_duration.get_or_create_owned(&labels),
            backend,
        });
        all.push(Arc::clone(&calls));
        calls
    }

    fn failed(&self, calls: &BackendCalls, code: &'static str, reason: &'static str) {
        let is_this = |one: &&Failures| one.code == code && one.reason == reason;
        if let Some(known) = calls.failed.read().iter().find(is_this) {
            known.count.inc();
            return;
        }
        let count = self.count(&calls.backend, code, reason);
        count.inc();
        let mut failed = calls.failed.write();
        // Another call may have been faster.
        if !failed.iter().any(|one| is_this(&one)) {
            failed.push(Failures { code, reason, count });
        }
    }

    fn count(&self, backend: &Arc<str>, code: &'static str, reason: &'static str) -> Counter {
        let (method, backend) = (Arc::clone(&self.method), Arc::clone(backend));
        let labels = CallLabels { method, code, reason, backend };
        self.all.calls.get_or_create_owned(&labels)
    }
}

impl ServerMetrics {
    /// All at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let ports = PortsMetrics::register(to);
        let handshakes = HandshakeMetrics::register(to);
        let certificates = CertificateMetrics::register(to);
        let metrics = Self {
            calls: Family::default(),
            call_duration: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            gateway_duration: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            calls_in_flight: Gauge::default(),
            calls_shed: Counter::default(),
            connections: Gauge::default(),
            ready: Gauge::default(),
            ports,
            handshakes,
            certificates,
        };
        to.register("calls", "gRPC calls that are over", &metrics.calls);
        to.register(
            "call_duration_seconds",
            "Time from a call's headers to the end of its response",
            &metrics.call_duration,
        );
        to.register(
            "call_gateway_duration_seconds",
            "The part of that which the gateway itself took: apart from HTTP requests to \
             upstreams, and from waiting for those of another call",
            &metrics.gateway_duration,
        );
        to.register("calls_in_flight", "gRPC calls that are running", &metrics.calls_in_flight);
        to.register(
            "calls_shed",
            "gRPC calls refused because too many were running",
            &metrics.calls_shed,
        );
        to.register("connections", "Open connections to the gRPC port", &metrics.connections);
        to.register(
            "ready",
            "1 while the process accepts calls, as `/readyz` says, or else 0",
            &metrics.ready,
        );
        metrics
    }

    /// Has readiness measured whenever the metrics are read.
    pub fn measure_readiness(
        &self,
        is_ready: impl Fn() -> bool + Send + Sync + 'static,
        in_registry: &mut Registry,
    ) {
        let ready = self.ready.clone();
        in_registry.before_scrape(move || {
            ready.set(is_ready().into());
        });
    }

    /// The metrics of one method's calls.
    pub(super) fn calls_of(&self, method: &str) -> CallMetrics {
        CallMetrics { method: method.into(), all: self.clone(), of_backends: RwLock::default() }
    }

    /// Counts the calls of a method that are for these backends from the start.
    pub(super) fn start(&self, method: &str, backends: &[String]) {
        for backend in backends {
            let labels = CallLabels {
                method: method.into(),
                code: "OK",
                reason: "",
                backend: backend.as_str().into(),
            };
            drop(self.calls.get_or_create(&labels));
        }
    }

    /// A gRPC call was refused because too many were running.
    pub(super) fn call_shed(&self) {
        self.calls_shed.inc();
    }

    /// gRPC calls that are running, streams included.
    pub(super) fn calls_in_flight(&self) -> usize {
        usize::try_from(self.calls_in_flight.get()).unwrap_or(0)
    }

    /// The metrics of a port.
    pub(super) fn port(&self, port: Port) -> PortMetrics {
        let open = match port {
            Port::Grpc => self.connections.clone(),
            Port::Admin | Port::Probe => Gauge::default(),
        };
        self.ports.port(port, open)
    }

    /// The metrics of TLS handshakes.
    pub(super) fn handshakes(&self) -> HandshakeMetrics {
        self.handshakes.clone()
    }

    /// The metric of the certificate that clients see.
    pub(super) fn certificates(&self) -> CertificateMetrics {
        self.certificates.clone()
    }

    /// What the admin port refuses.
    pub(super) fn admin_refusals(&self) -> AdminRefusals {
        self.ports.admin_refusals()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn every_metric_is_exported_under_its_name() {
        let mut registry = Registry::new("1.2.3");
        let metrics = ServerMetrics::register(&mut registry);
        let calls = metrics.calls_of("a.B/C");
        calls.started();
        calls.finished("sft", ("OK", ""), Duration::from_micros(12), Duration::ZERO);
        calls.finished("sft", ("UNAVAILABLE", "OVERLOADED"), MS * 3, MS * 2);
        calls.finished("", ("UNAVAILABLE", "OVERLOADED"), MS * 3, MS * 4);
        metrics.start("a.B/D", &["sft".to_owned()]);
        calls.started();
        metrics.call_shed();
        metrics.port(Port::Grpc).connection_opened();
        metrics.port(Port::Admin).connection_opened();
        let text = registry.encode();
        for line in [
            r#"calls_total{method="a.B/C",code="OK",reason="",backend="sft"} 1"#,
            r#"calls_total{method="a.B/C",code="UNAVAILABLE",reason="OVERLOADED",backend="sft"} 1"#,
            r#"calls_total{method="a.B/C",code="UNAVAILABLE",reason="OVERLOADED",backend=""} 1"#,
            r#"calls_total{method="a.B/D",code="OK",reason="",backend="sft"} 0"#,
            r#"call_duration_seconds_bucket{le="0.000025",method="a.B/C",backend="sft"} 1"#,
            r#"call_duration_seconds_count{method="a.B/C",backend="sft"} 2"#,
            r#"call_gateway_duration_seconds_bucket{le="0.0005",method="a.B/C",backend="sft"} 1"#,
            r#"call_gateway_duration_seconds_sum{method="a.B/C",backend="sft"} 0.001012"#,
            r#"call_gateway_duration_seconds_sum{method="a.B/C",backend=""} 0.0"#,
            "profile_gateway_calls_in_flight -1",
            "profile_gateway_calls_shed_total 1",
            "profile_gateway_connections 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
