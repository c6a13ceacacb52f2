//! What the server counts: calls and connections.

mod ports;
mod tls;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::RwLock;
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use self::ports::PortsMetrics;
pub(crate) use self::{
    ports::{AdminRefusal, AdminRefusals, Closed, Port, PortMetrics},
    tls::{FAILURES, HandshakeFailure, HandshakeMetrics},
};
use crate::telemetry::{Registry, buckets::SECONDS, labels};

/// The metrics of the server. Clones share them.
#[derive(Debug, Clone)]
pub struct ServerMetrics {
    calls: Family<CallLabels, Counter>,
    call_duration: Family<MethodLabels, Histogram>,
    calls_in_flight: Gauge,
    calls_shed: Counter,
    connections: Gauge,
    ports: PortsMetrics,
    handshakes: HandshakeMetrics,
}

labels! {
    struct CallLabels { method: Arc<str>, code: &'static str, reason: &'static str }
}

labels! {
    struct MethodLabels { method: Arc<str> }
}

/// Counts the calls of one method.
///
/// The metrics are looked up once and kept, because a lookup by labels hashes and locks. Not before
/// the first call, so that methods without calls have no lines.
#[derive(Debug)]
pub(super) struct CallMetrics {
    method: Arc<str>,
    all: ServerMetrics,
    succeeded: OnceLock<Counter>,
    failed: RwLock<Vec<Failures>>,
    duration: OnceLock<Histogram>,
}

/// The calls of a method that failed in one way.
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

    /// A gRPC call is over. `reason` is empty when it succeeded.
    pub(super) fn finished(&self, code: &'static str, reason: &'static str, duration: Duration) {
        self.all.calls_in_flight.dec();
        let histogram = self.duration.get_or_init(|| {
            let labels = MethodLabels { method: Arc::clone(&self.method) };
            self.all.call_duration.get_or_create_owned(&labels)
        });
        histogram.observe(duration.as_secs_f64());
        if code == "OK" && reason.is_empty() {
            self.succeeded.get_or_init(|| self.count(code, reason)).inc();
        } else {
            self.failed(code, reason);
        }
    }

    fn failed(&self, code: &'static str, reason: &'static str) {
        let is_this = |one: &&Failures| one.code == code && one.reason == reason;
        if let Some(known) = self.failed.read().iter().find(is_this) {
            known.count.inc();
            return;
        }
        let count = self.count(code, reason);
        count.inc();
        let mut failed = self.failed.write();
        // Another call may have been faster.
        if !failed.iter().any(|one| is_this(&one)) {
            failed.push(Failures { code, reason, count });
        }
    }

    fn count(&self, code: &'static str, reason: &'static str) -> Counter {
        let labels = CallLabels { method: Arc::clone(&self.method), code, reason };
        self.all.calls.get_or_create_owned(&labels)
    }
}

impl ServerMetrics {
    /// All at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let ports = PortsMetrics::register(to);
        let handshakes = HandshakeMetrics::register(to);
        let metrics = Self {
            calls: Family::default(),
            call_duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            calls_in_flight: Gauge::default(),
            calls_shed: Counter::default(),
            connections: Gauge::default(),
            ports,
            handshakes,
        };
        to.register("calls", "gRPC calls that are over", &metrics.calls);
        to.register(
            "call_duration_seconds",
            "Time from a call's headers to the end of its response",
            &metrics.call_duration,
        );
        to.register("calls_in_flight", "gRPC calls that are running", &metrics.calls_in_flight);
        to.register(
            "calls_shed",
            "gRPC calls refused because too many were running",
            &metrics.calls_shed,
        );
        to.register("connections", "Open connections to the gRPC port", &metrics.connections);
        metrics
    }

    /// The metrics of one method's calls.
    pub(super) fn calls_of(&self, method: &str) -> CallMetrics {
        CallMetrics {
            method: method.into(),
            all: self.clone(),
            succeeded: OnceLock::new(),
            failed: RwLock::default(),
            duration: OnceLock::new(),
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

    /// What the admin port refuses.
    pub(super) fn admin_refusals(&self) -> AdminRefusals {
        self.ports.admin_refusals()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_exported_under_its_name() {
        let mut registry = Registry::new("1.2.3");
        let metrics = ServerMetrics::register(&mut registry);
        let calls = metrics.calls_of("a.B/C");
        calls.started();
        calls.finished("OK", "", Duration::from_millis(3));
        calls.started();
        metrics.call_shed();
        metrics.port(Port::Grpc).connection_opened();
        metrics.port(Port::Admin).connection_opened();
        let text = registry.encode();
        for line in [
            r#"profile_gateway_calls_total{method="a.B/C",code="OK",reason=""} 1"#,
            r#"profile_gateway_call_duration_seconds_count{method="a.B/C"} 1"#,
            "profile_gateway_calls_in_flight 1",
            "profile_gateway_calls_shed_total 1",
            "profile_gateway_connections 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
