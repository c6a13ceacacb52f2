//! Verifies the certificates of clients: their chain, purpose, time and revocation, as the library
//! does it, and that they name one workload, if any, and of which trust domain.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::certificate::PeerCertificate;
use crate::auth::spiffe;

/// Most bytes of the certificates that a client shows. They are kept, to verify it again.
const MAX_CHAIN_BYTES: usize = 16 * 1024;

/// A client has shown more than that.
#[derive(Debug, thiserror::Error)]
#[error("the certificates of the client have too many bytes")]
pub(crate) struct Oversized;

/// Takes no certificate that may name several workloads, and with a trust domain only those of its
/// workloads.
#[derive(Debug)]
pub(super) struct OfWorkload {
    pub inner: Arc<dyn ClientCertVerifier>,
    pub trust_domain: Option<String>,
}

impl OfWorkload {
    fn accepts(&self, PeerCertificate { spiffe, .. }: &PeerCertificate) -> bool {
        let Some(trust_domain) = &self.trust_domain else { return true };
        spiffe.as_deref().and_then(spiffe::trust_domain) == Some(trust_domain)
    }
}

impl ClientCertVerifier for OfWorkload {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let others = intermediates.iter().map(|certificate| certificate.len());
        if end_entity.len() + others.sum::<usize>() > MAX_CHAIN_BYTES {
            return Err(CertificateError::Other(OtherError(Arc::new(Oversized))).into());
        }
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        match PeerCertificate::read(end_entity).is_some_and(|shown| self.accepts(&shown)) {
            true => Ok(verified),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
