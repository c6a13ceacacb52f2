//! What handshakes are made with, and which clients are accepted by it.

use std::{fmt, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};

/// What handshakes are made with.
pub(in crate::server) struct InUse {
    pub config: Arc<ServerConfig>,
    pub clients: Clients,
}

/// Which clients are accepted.
#[derive(Debug, Clone)]
pub(in crate::server) enum Clients {
    /// All: they are not asked for certificates.
    All,
    /// Those that this verifies.
    Verified(Arc<dyn ClientCertVerifier>),
}

/// Why a client has to connect again before it may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// Its certificate has run out.
    Expired,
    /// Its certificate is not accepted any more.
    Refused,
    /// It has shown no certificate, and has to now.
    Missing,
}

impl Clients {
    /// Why a client with this chain of certificates is not accepted, if so.
    pub(super) fn refuse(&self, chain: &[CertificateDer<'_>]) -> Option<Lapse> {
        match (self, chain.split_first()) {
            (Self::All, None) => None,
            // What it proves was not asked for.
            (Self::All, Some(_)) => Some(Lapse::Refused),
            (Self::Verified(verifier), None) => {
                verifier.client_auth_mandatory().then_some(Lapse::Missing)
            }
            (Self::Verified(verifier), Some((own, others))) => {
                let verified = verifier.verify_client_cert(own, others, UnixTime::now());
                verified.err().map(|_| Lapse::Refused)
            }
        }
    }
}

// Without the key.
impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InUse").finish_non_exhaustive()
    }
}
