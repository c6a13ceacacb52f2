//! TLS to an upstream: its certificate is verified as the platform does it, and the gateway shows
//! none of its own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustls::{
    ClientConfig, SignatureScheme,
    client::ResolvesClientCert,
    crypto::{CryptoProvider, aws_lc_rs},
    sign::CertifiedKey,
};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::error::{Error, Reason, Result};

/// What an upstream has asked for in TLS handshakes. Over HTTP/2, the client library often does not
/// say that a connection ended because of it.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Handshakes {
    /// How often it has asked for a client certificate.
    asked: AtomicU64,
    /// Whether it has answered a request, so it does without one.
    answers: AtomicBool,
}

impl Handshakes {
    /// The settings of connections whose handshakes are noted.
    pub(in crate::upstream) fn settings(self: &Arc<Self>) -> Result<ClientConfig> {
        let provider = CryptoProvider::get_default().map(Arc::clone);
        let provider = provider.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let verified = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|e| {
                Error::new(Reason::GatewayInternal, "TLS could not be set up").with_internal(e)
            })?;
        let mut settings = verified.with_client_cert_resolver(Arc::new(Without(Arc::clone(self))));
        settings.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
        Ok(settings)
    }

    /// How often the upstream has asked for a client certificate.
    pub(in crate::upstream) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The upstream has answered a request.
    pub(in crate::upstream) fn answered(&self) {
        self.answers.store(true, Ordering::Relaxed);
    }

    /// Whether the upstream wants a client certificate: it has asked again since it had asked so
    /// often, and it has never answered.
    pub(in crate::upstream) fn want_certificate(&self, since: u64) -> bool {
        self.asked() > since && !self.answers.load(Ordering::Relaxed)
    }
}

/// No client certificate.
#[derive(Debug)]
struct Without(Arc<Handshakes>);

impl ResolvesClientCert for Without {
    fn resolve(&self, _issuers: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_answers_does_without_a_certificate() {
        let handshakes = Arc::new(Handshakes::default());
        let without = Without(Arc::clone(&handshakes));
        let since = handshakes.asked();
        assert!(!handshakes.want_certificate(since));
        assert!(without.resolve(&[], &[]).is_none());
        assert!(handshakes.want_certificate(since));
        assert!(!handshakes.want_certificate(handshakes.asked()), "it has not asked since");
        handshakes.answered();
        assert!(!handshakes.want_certificate(since));
    }
}
