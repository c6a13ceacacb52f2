//! TLS on the gRPC port: what it is made of, checked before it is used, and what the certificates
//! of clients prove.
//!
//! Opens no sockets; `transport` makes the handshakes.

mod acceptance;
mod certificate;
mod demand;
mod in_use;
mod load;
#[cfg(test)]
mod tests;
mod verifier;

use std::{fmt, sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use rustls::ServerConfig;

pub(in crate::server) use self::acceptance::Offer;
pub use self::certificate::PeerCertificate;
pub(crate) use self::{
    acceptance::Acceptance, certificate::shown_time, in_use::Lapse, verifier::Oversized,
};
use self::{demand::Demand, in_use::InUse};
use super::{metrics::CertificateMetrics, settings::HandshakeLimits};

/// TLS on the gRPC port, checked and ready for handshakes.
#[derive(Clone)]
pub struct Tls {
    in_use: Arc<InUse>,
    pub(super) limits: HandshakeLimits,
    /// What clients see.
    certificate: OwnCertificate,
}

/// The TLS of a port that serves. Clones share it. Handshakes take what is offered when they begin,
/// and connections keep what they began with, as long as their clients are accepted.
#[derive(Clone)]
pub struct CurrentTls {
    /// What handshakes begin with, and the generation of clients that it accepts.
    offered: Arc<Mutex<(Arc<ServerConfig>, u64)>>,
    demand: Arc<Demand>,
    metrics: CertificateMetrics,
}

impl CurrentTls {
    pub(super) fn new(tls: &Tls, metrics: CertificateMetrics) -> Self {
        metrics.shown_until(tls.certificate.not_after);
        let demand = Arc::new(Demand::new(tls.in_use.clients.clone()));
        let offered = (Arc::clone(&tls.in_use.config), demand.generation());
        Self { offered: Arc::new(Mutex::new(offered)), demand, metrics }
    }

    /// What a handshake is made with that begins now.
    pub(super) fn offer(&self) -> Offer {
        let (config, generation) = self.offered.lock().clone();
        Offer { config, generation, demand: Arc::clone(&self.demand) }
    }

    /// Accepts no other clients than this does: who is connected has to be accepted once more, and
    /// who connects both by this and by what is offered.
    pub fn demand(&self, tls: &Tls) {
        self.demand.replace(tls.in_use.clients.clone());
    }

    /// Lets handshakes that begin from now on take this certificate, and accept these clients,
    /// which have to be those that are demanded. The limits of handshakes stay.
    pub fn replace(&self, tls: &Tls) {
        self.metrics.shown_until(tls.certificate.not_after);
        *self.offered.lock() = (Arc::clone(&tls.in_use.config), self.demand.generation());
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
