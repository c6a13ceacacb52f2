//! For how long what a client has proved in its handshake counts: until its certificate runs out,
//! or until other clients are accepted than before and it is not one of them.

use std::{sync::Arc, time::Duration};

use rustls::pki_types::CertificateDer;
use tokio::{sync::watch, time::sleep};

use super::{
    certificate::PeerCertificate,
    in_use::{InUse, Lapse},
};

/// A client as it was accepted.
#[derive(Debug)]
pub(crate) struct Acceptance {
    /// What its certificate proves, if it has shown one.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Its certificate with those that lead to its authority; empty without one.
    chain: Vec<CertificateDer<'static>>,
    /// Tells when other clients are accepted. It has seen what this one was accepted by.
    changes: watch::Receiver<Arc<InUse>>,
}

impl Acceptance {
    /// The client that has shown these certificates. `None` if the first of them proves nothing.
    pub(in crate::server) fn of(
        shown: Option<&[CertificateDer<'static>]>,
        changes: watch::Receiver<Arc<InUse>>,
    ) -> Option<Self> {
        let chain = shown.unwrap_or_default().to_vec();
        let read = |first: &CertificateDer<'_>| PeerCertificate::read(first).map(Arc::new);
        let certificate = match chain.first() {
            Some(first) => Some(read(first)?),
            None => None,
        };
        Some(Self { certificate, chain, changes })
    }

    /// Waits until what the client has proved does not count any more.
    pub(in crate::server) async fn lapse(mut self) -> Lapse {
        let left = self.certificate.as_ref().map(|shown| shown.left());
        tokio::select! {
            () = elapsed(left) => Lapse::Expired,
            lapse = self.refusal() => lapse,
        }
    }

    async fn refusal(&mut self) -> Lapse {
        while self.changes.changed().await.is_ok() {
            let in_use = Arc::clone(&self.changes.borrow_and_update());
            if let Some(lapse) = in_use.clients.refuse(&self.chain) {
                return lapse;
            }
        }
        // The port is closed.
        std::future::pending().await
    }
}

/// Never returns without a time.
async fn elapsed(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}
