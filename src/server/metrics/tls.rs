//! What is counted of TLS handshakes.

use std::time::SystemTime;

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::ports::Port;
use crate::telemetry::{Registry, label_values, labels, start_all};

label_values! {
    /// Why a TLS handshake failed.
    pub(crate) enum HandshakeFailure {
        /// The client does not speak TLS.
        Plaintext = "plaintext",
        /// It took too long.
        Timeout = "timeout",
        /// It took long while others waited for their turn.
        Room = "room",
        /// The client left.
        Left = "left",
        /// The client did not offer the protocol `h2`.
        Alpn = "alpn",
        /// Both sides have no version, cipher or curve in common, or the client broke the rules.
        Protocol = "protocol",
        /// The client refused, such as for the gateway's certificate.
        Refused = "refused",
        /// The client has to show a certificate and did not.
        NoCertificate = "no_certificate",
        /// No known authority has signed the client's certificate.
        UnknownIssuer = "unknown_issuer",
        /// The client's certificate is not valid any more, or not yet.
        Expired = "expired",
        /// The client's certificate was revoked.
        Revoked = "revoked",
        /// No revocation list is of the authority of the client's certificate.
        NoRevocationList = "no_revocation_list",
        /// The client's certificate is not for clients.
        Purpose = "purpose",
        /// The client's certificate names no workload of the trust domain, or several.
        Identity = "identity",
        /// The certificates that the client has shown are too large together.
        Oversized = "oversized",
        /// The client's certificate cannot be used for another reason.
        Certificate = "certificate",
        /// Something else.
        Other = "other",
    }
}

labels! {
    struct FailureLabels { kind: HandshakeFailure }
}

/// Counts the TLS handshakes that fail. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct HandshakeMetrics(Family<FailureLabels, Counter>);

impl HandshakeMetrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register(
            "tls_handshake_failures",
            "TLS handshakes on the gRPC port that failed, by kind",
            &metrics.0,
        );
        start_all(&metrics.0);
        metrics
    }

    /// A handshake failed.
    pub(crate) fn failed(&self, kind: HandshakeFailure) {
        self.0.get_or_create_owned(&FailureLabels { kind }).inc();
    }
}

labels! {
    struct CertificateLabels { port: Port }
}

/// Until when the certificate is valid that clients see. Clones share it. Without TLS there is no
/// series of it, which would be taken for a certificate that has expired.
#[derive(Debug, Clone, Default)]
pub(crate) struct CertificateMetrics(Family<CertificateLabels, Gauge>);

impl CertificateMetrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register(
            "tls_certificate_expiry_timestamp_seconds",
            "When the certificate that the port shows expires, in seconds since 1970; absent \
             without TLS",
            &metrics.0,
        );
        metrics
    }

    /// The gRPC port shows a certificate that is valid until then.
    pub(crate) fn shown_until(&self, end: SystemTime) {
        let seconds = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let shown = self.0.get_or_create_owned(&CertificateLabels { port: Port::Grpc });
        shown.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::LabelValue as _;

    #[test]
    fn every_kind_is_there_from_the_start() {
        let mut registry = Registry::new("1.2.3");
        let metrics = HandshakeMetrics::register(&mut registry);
        metrics.failed(HandshakeFailure::Alpn);
        let text = registry.encode();
        for kind in HandshakeFailure::all() {
            let count = u8::from(kind == HandshakeFailure::Alpn);
            let name = kind.name();
            let line =
                format!(r#"profile_gateway_tls_handshake_failures_total{{kind="{name}"}} {count}"#);
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
