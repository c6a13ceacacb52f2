//! TLS to an upstream: how its certificate is verified, and what the gateway shows of itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustls::{
    ClientConfig, SignatureScheme,
    client::{ResolvesClientCert, WebPkiServerVerifier, danger::ServerCertVerifier},
    sign::CertifiedKey,
};
use rustls_platform_verifier::Verifier;

use super::settings::{Roots, TlsSettings};
use crate::{
    error::{Error, Reason, Result},
    settings::provider,
};

/// What an upstream has asked for in TLS handshakes. Over HTTP/2, the client library often does not
/// say that a connection ended because of it.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Handshakes {
    /// How often it has asked for a client certificate.
    asked: AtomicU64,
    /// Whether it has answered a request, so it does without one.
    answers: AtomicBool,
    /// Whether there is a client certificate to show.
    is_certified: bool,
}

impl Handshakes {
    /// How connections are set up, with their handshakes noted here.
    pub(in crate::upstream) fn noting(settings: &TlsSettings) -> Result<(Arc<Self>, ClientConfig)> {
        let not_set_up = |why: rustls::Error| {
            Error::new(Reason::GatewayInternal, "TLS could not be set up").with_internal(why)
        };
        let identity = settings.identity().map_err(not_set_up)?.map(Arc::new);
        let handshakes = Arc::new(Self { is_certified: identity.is_some(), ..Self::default() });
        let shows = Identity { handshakes: Arc::clone(&handshakes), identity };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(settings.min_version.and_later())
            .map_err(not_set_up)?;
        let mut config = builder
            // The library's own, or the platform's.
            .dangerous()
            .with_custom_certificate_verifier(verifier(settings)?)
            .with_client_cert_resolver(Arc::new(shows));
        config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
        Ok((handshakes, config))
    }

    /// How often the upstream has asked for a client certificate.
    pub(in crate::upstream) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The upstream has answered a request.
    pub(in crate::upstream) fn answered(&self) {
        self.answers.store(true, Ordering::Relaxed);
    }

    /// Whether there is a client certificate to show.
    pub(in crate::upstream) fn is_certified(&self) -> bool {
        self.is_certified
    }

    /// Whether the upstream wants a client certificate, or another one: it has asked again since it
    /// had asked so often, and it has never answered.
    pub(in crate::upstream) fn want_certificate(&self, since: u64) -> bool {
        self.asked() > since && !self.answers.load(Ordering::Relaxed)
    }
}

/// What decides whether a certificate of the upstream is accepted.
fn verifier(settings: &TlsSettings) -> Result<Arc<dyn ServerCertVerifier>> {
    let wrong = |why: String| {
        Error::new(Reason::GatewayInternal, "the trusted authorities could not be set up")
            .with_internal(why)
    };
    let of_system = |extra| {
        let verifier = Verifier::new_with_extra_roots(extra, provider());
        verifier.map_err(|error| wrong(error.to_string()))
    };
    Ok(match settings.roots {
        Roots::System => Arc::new(of_system(Vec::new())?),
        Roots::Both => {
            let extra = settings.ca_file.iter().flat_map(|file| file.der.clone());
            Arc::new(of_system(extra.collect())?)
        }
        Roots::File => {
            let roots = Arc::new(settings.authorities().map_err(wrong)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
            verifier.map_err(|error| wrong(error.to_string()))?
        }
    })
}

/// What the gateway shows of itself: its client certificate, if it has one.
#[derive(Debug)]
struct Identity {
    handshakes: Arc<Handshakes>,
    identity: Option<Arc<CertifiedKey>>,
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _issuers: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.handshakes.asked.fetch_add(1, Ordering::Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_answers_does_without_a_certificate() {
        let handshakes = Arc::new(Handshakes::default());
        let without = Identity { handshakes: Arc::clone(&handshakes), identity: None };
        let since = handshakes.asked();
        assert!(!handshakes.want_certificate(since));
        assert!(without.resolve(&[], &[]).is_none());
        assert!(handshakes.want_certificate(since));
        assert!(!handshakes.want_certificate(handshakes.asked()), "it has not asked since");
        handshakes.answered();
        assert!(!handshakes.want_certificate(since));
    }
}
