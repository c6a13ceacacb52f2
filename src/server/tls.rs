//! TLS on the gRPC port: what it is made of, checked before it is used, and what the certificates
//! of clients prove.
//!
//! Opens no sockets; `transport` makes the handshakes.

mod acceptance;
mod certificate;
mod in_use;
mod load;
mod verifier;

use std::{fmt, sync::Arc, time::SystemTime};

use tokio::sync::watch;

pub use self::certificate::PeerCertificate;
use self::in_use::InUse;
pub(crate) use self::{acceptance::Acceptance, certificate::shown_time, in_use::Lapse};
use super::{metrics::CertificateMetrics, settings::HandshakeLimits};

/// TLS on the gRPC port, checked and ready for handshakes.
#[derive(Clone)]
pub struct Tls {
    in_use: Arc<InUse>,
    pub(super) limits: HandshakeLimits,
    /// What clients see.
    certificate: OwnCertificate,
}

/// The TLS of a port that serves. Clones share it. Handshakes take what is current when they begin,
/// and connections keep what they began with, as long as their clients are accepted.
#[derive(Clone)]
pub struct CurrentTls {
    current: watch::Sender<Arc<InUse>>,
    metrics: CertificateMetrics,
}

impl CurrentTls {
    pub(super) fn new(tls: &Tls, metrics: CertificateMetrics) -> Self {
        metrics.shown_until(tls.certificate.not_after);
        Self { current: watch::Sender::new(Arc::clone(&tls.in_use)), metrics }
    }

    /// What a handshake is made with that begins now, and what tells when other clients are
    /// accepted than by that.
    pub(super) fn current(&self) -> (Arc<InUse>, watch::Receiver<Arc<InUse>>) {
        let mut changes = self.current.subscribe();
        let in_use = Arc::clone(&changes.borrow_and_update());
        (in_use, changes)
    }

    /// Lets handshakes that begin from now on take another certificate, and other authorities of
    /// clients. `clients_changed`: those that are connected have to be accepted once more. The
    /// limits of handshakes stay.
    pub fn replace(&self, tls: &Tls, clients_changed: bool) {
        self.metrics.shown_until(tls.certificate.not_after);
        self.current.send_if_modified(|current| {
            *current = Arc::clone(&tls.in_use);
            clients_changed
        });
    }
}

// Without the key.
impl fmt::Debug for CurrentTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentTls").finish_non_exhaustive()
    }
}

/// The certificate that the gateway shows to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The DNS names and URIs that it is for, in its order; not its IP addresses.
    pub names: Vec<String>,
    /// The first second for which it is valid.
    pub not_before: SystemTime,
    /// The last one.
    pub not_after: SystemTime,
}

impl Tls {
    /// The certificate that the gateway shows to clients.
    #[must_use]
    pub fn certificate(&self) -> &OwnCertificate {
        &self.certificate
    }
}

// Without the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
