//! What each port counts: the connections that it refused or closed, and when it was full.

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::telemetry::{Registry, label_values, labels, start_all};

label_values! {
    /// A port.
    pub(crate) enum Port {
        Grpc = "grpc",
        Admin = "admin",
        Probe = "probe",
    }
}

label_values! {
    /// Why the gateway refused or closed a connection.
    pub(crate) enum Closed {
        /// Its peer has as many as one may have, with calls on each: refused.
        PeerLimit = "peer_limit",
        /// It did nothing, and another one needed its place.
        Room = "room",
        /// Its client sent no request in time.
        NoRequest = "no_request",
        /// It has been without calls for long.
        Idle = "idle",
        /// Its client does not read.
        Unread = "unread",
        /// It is old.
        Age = "age",
        /// The certificate of its client has expired.
        Certificate = "certificate",
        /// A reload of the configuration refuses the certificate of its client, or demands one.
        CertificateRefused = "certificate_refused",
        /// Its TLS handshake failed.
        Handshake = "handshake",
        /// Its client speaks TLS, and the port does not.
        Tls = "tls",
        /// Too many of its calls were of no one.
        Unproved = "unproved",
    }
}

label_values! {
    /// Why the admin port refused a request.
    pub(crate) enum AdminRefusal {
        /// It was for another host.
        Host = "host",
        /// A page in a browser sent it, to change something.
        Origin = "origin",
        /// It had no token, or a wrong one.
        Token = "token",
    }
}

labels! {
    struct RefusalLabels { reason: AdminRefusal }
}

labels! {
    struct PortLabels { port: Port }
}

labels! {
    struct ClosedLabels { port: Port, reason: Closed }
}

/// The metrics of all ports. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct PortsMetrics {
    closed: Family<ClosedLabels, Counter>,
    full: Family<PortLabels, Counter>,
    accept_failures: Family<PortLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
}

/// Counts what the admin port refuses.
#[derive(Debug, Clone)]
pub(crate) struct AdminRefusals(Family<RefusalLabels, Counter>);

impl AdminRefusals {
    pub(crate) fn refused(&self, reason: AdminRefusal) {
        self.0.get_or_create_owned(&RefusalLabels { reason }).inc();
    }
}

impl PortsMetrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register(
            "connections_closed",
            "Connections that the gateway refused or closed, by reason",
            &metrics.closed,
        );
        to.register(
            "port_full",
            "Clients that had to wait because calls ran on all connections of the port",
            &metrics.full,
        );
        to.register(
            "accept_failures",
            "Failures to accept a connection, such as for a lack of file descriptors",
            &metrics.accept_failures,
        );
        to.register(
            "admin_refusals",
            "Requests that the admin port refused for their host, their origin, or their token",
            &metrics.refusals,
        );
        start_all(&metrics.refusals);
        start_all(&metrics.closed);
        start_all(&metrics.full);
        start_all(&metrics.accept_failures);
        metrics
    }

    /// What the admin port refuses.
    pub(super) fn admin_refusals(&self) -> AdminRefusals {
        AdminRefusals(self.refusals.clone())
    }

    /// The metrics of one port. `open` is the number of its connections.
    pub(super) fn port(&self, port: Port, open: Gauge) -> PortMetrics {
        PortMetrics { port, all: self.clone(), open }
    }
}

/// The metrics of one port.
#[derive(Debug, Clone)]
pub(crate) struct PortMetrics {
    port: Port,
    all: PortsMetrics,
    open: Gauge,
}

impl PortMetrics {
    /// What the log calls the port.
    pub(crate) fn port(&self) -> &'static str {
        self.port.name()
    }

    /// A client connected.
    pub(crate) fn connection_opened(&self) {
        self.open.inc();
    }

    /// A connection is closed, by either side.
    pub(crate) fn connection_closed(&self) {
        self.open.dec();
    }

    /// The gateway refused or closed a connection.
    pub(crate) fn closed(&self, reason: Closed) {
        let labels = ClosedLabels { port: self.port, reason };
        self.all.closed.get_or_create_owned(&labels).inc();
    }

    /// A client has to wait for a place.
    pub(crate) fn was_full(&self) {
        self.all.full.get_or_create_owned(&PortLabels { port: self.port }).inc();
    }

    /// A connection could not be accepted.
    pub(crate) fn accept_failed(&self) {
        self.all.accept_failures.get_or_create_owned(&PortLabels { port: self.port }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_there_from_the_start() {
        let mut registry = Registry::new("1.2.3");
        let metrics = PortsMetrics::register(&mut registry);
        let port = metrics.port(Port::Probe, Gauge::default());
        port.closed(Closed::NoRequest);
        port.was_full();
        port.accept_failed();
        metrics.admin_refusals().refused(AdminRefusal::Host);
        let text = registry.encode();
        for line in [
            r#"profile_gateway_connections_closed_total{port="probe",reason="no_request"} 1"#,
            r#"profile_gateway_connections_closed_total{port="grpc",reason="peer_limit"} 0"#,
            r#"profile_gateway_port_full_total{port="probe"} 1"#,
            r#"profile_gateway_accept_failures_total{port="probe"} 1"#,
            r#"profile_gateway_accept_failures_total{port="admin"} 0"#,
            r#"profile_gateway_admin_refusals_total{reason="host"} 1"#,
            r#"profile_gateway_admin_refusals_total{reason="token"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
