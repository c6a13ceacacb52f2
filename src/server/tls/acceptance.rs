//! For how long what a client has proved in its handshake counts: until its certificate runs out,
//! or until other clients are accepted than before and it is not one of them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{task::yield_now, time::sleep};

use super::{certificate::PeerCertificate, demand::Demand, in_use::Lapse};

/// What a handshake is made with.
pub(in crate::server) struct Offer {
    pub config: Arc<ServerConfig>,
    /// The generation of clients that it accepts.
    pub(super) generation: u64,
    pub(super) demand: Arc<Demand>,
}

/// A client as it was accepted.
#[derive(Debug)]
pub(crate) struct Acceptance {
    /// What its certificate proves, if it has shown one.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Its certificate with those that lead to its authority; empty without one.
    chain: Vec<CertificateDer<'static>>,
    /// The generation that it was last accepted by.
    generation: AtomicU64,
    demand: Arc<Demand>,
}

impl Offer {
    /// The client that has shown these certificates. `None` if the first of them proves nothing.
    pub(in crate::server) fn accept(
        self,
        shown: Option<&[CertificateDer<'static>]>,
    ) -> Option<Acceptance> {
        let chain = shown.unwrap_or_default().to_vec();
        let read = |first: &CertificateDer<'_>| PeerCertificate::read(first).map(Arc::new);
        let certificate = match chain.first() {
            Some(first) => Some(read(first)?),
            None => None,
        };
        let generation = AtomicU64::new(self.generation);
        Some(Acceptance { certificate, chain, generation, demand: self.demand })
    }
}

impl Acceptance {
    /// Why the client is not accepted any more, if so. Verifies it again only if it was not since
    /// other clients are accepted.
    pub(in crate::server) fn refusal(&self) -> Option<Lapse> {
        if self.generation.load(Ordering::Relaxed) == self.demand.generation() {
            return None;
        }
        let newest = self.demand.newest();
        let refusal = newest.clients.refuse(&self.chain);
        if refusal.is_none() {
            self.generation.store(newest.generation, Ordering::Relaxed);
        }
        refusal
    }

    /// Waits until what the client has proved does not count any more. `refusal` is asked for each
    /// generation.
    pub(in crate::server) async fn lapse(&self, refusal: impl Fn() -> Option<Lapse>) -> Lapse {
        tokio::select! {
            () = self.expiry() => Lapse::Expired,
            lapse = self.refused(refusal) => lapse,
        }
    }

    async fn refused(&self, refusal: impl Fn() -> Option<Lapse>) -> Lapse {
        let is_other = |newest| newest != self.generation.load(Ordering::Relaxed);
        while let Some(_turn) = self.demand.turn(is_other).await {
            if let Some(lapse) = refusal() {
                return lapse;
            }
            // With the turn, so that what is ready on this thread runs before the next one.
            yield_now().await;
        }
        // The port is closed.
        std::future::pending().await
    }

    async fn expiry(&self) {
        match &self.certificate {
            Some(shown) => sleep(shown.left()).await,
            None => std::future::pending().await,
        }
    }
}
