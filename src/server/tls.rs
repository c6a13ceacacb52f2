//! TLS on the gRPC port: what it is made of, checked before anything listens, and what the
//! certificates of clients prove.
//!
//! Opens no sockets; `transport` makes the handshakes.

mod certificate;
mod load;
mod verifier;

use std::{fmt, sync::Arc, time::SystemTime};

use parking_lot::RwLock;
use rustls::ServerConfig;

pub use self::certificate::PeerCertificate;
pub(crate) use self::certificate::shown_time;
use super::settings::HandshakeLimits;

/// TLS on the gRPC port, checked and ready for handshakes.
#[derive(Clone)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) limits: HandshakeLimits,
    /// What clients see.
    certificate: OwnCertificate,
}

/// The TLS of a port that serves. Clones share it. Handshakes take what is current when they begin,
/// and connections keep what they began with.
#[derive(Clone)]
pub struct CurrentTls(Arc<RwLock<Arc<ServerConfig>>>);

impl CurrentTls {
    pub(super) fn new(tls: &Tls) -> Self {
        Self(Arc::new(RwLock::new(Arc::clone(&tls.config))))
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read())
    }

    /// Lets handshakes that begin from now on take another certificate, and other authorities of
    /// clients. The limits of handshakes stay.
    pub fn replace(&self, tls: &Tls) {
        *self.0.write() = Arc::clone(&tls.config);
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
    /// The last second for which it is valid.
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
