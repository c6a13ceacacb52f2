//! Clients are held against what is demanded now, without waiting for anything.

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
    server::{ResolvesServerCertUsingSni, WebPkiClientVerifier},
};

use super::{in_use::Clients, *};
use crate::server::transport::closing::Closing;

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/cert.pem");

/// Clients have to be of this authority.
fn demanding() -> Clients {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(CERTIFICATE).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    Clients::Verified(verifier.build().unwrap())
}

fn accepting(clients: Clients) -> Tls {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let resolver = Arc::new(ResolvesServerCertUsingSni::new());
    let config = config.unwrap().with_no_client_auth().with_cert_resolver(resolver);
    let now = SystemTime::now();
    Tls {
        in_use: Arc::new(InUse { config: Arc::new(config), clients }),
        limits: HandshakeLimits::default(),
        certificate: OwnCertificate { names: Vec::new(), not_before: now, not_after: now },
    }
}

fn serving(tls: &Tls) -> CurrentTls {
    CurrentTls::new(tls, CertificateMetrics::default())
}

#[test]
fn a_call_is_held_against_what_is_demanded_at_its_time() {
    let current = serving(&accepting(Clients::All));
    let closing = Closing::default();
    assert_eq!(closing.accept(current.offer().accept(None).unwrap()), None);
    assert!(closing.lapsed().is_none());
    current.demand(&accepting(Clients::All));
    assert!(closing.lapsed().is_none());
    current.demand(&accepting(demanding()));
    assert!(closing.lapsed().is_some());
    // What was refused stays so, for its connection ends.
    current.demand(&accepting(Clients::All));
    assert!(closing.lapsed().is_some());
}

#[test]
fn a_handshake_takes_what_is_new_after_the_rules_and_is_held_against_it_before() {
    let (old, new) = (accepting(Clients::All), accepting(demanding()));
    let current = serving(&old);
    let begun = current.offer();
    current.demand(&new);
    let offer = current.offer();
    assert!(Arc::ptr_eq(&offer.config, &old.in_use.config));
    for offer in [begun, offer] {
        let refused = Closing::default().accept(offer.accept(None).unwrap());
        assert_eq!(refused, Some(Lapse::Missing));
    }
    current.replace(&new);
    let offer = current.offer();
    assert!(Arc::ptr_eq(&offer.config, &new.in_use.config));
    assert_eq!(Closing::default().accept(offer.accept(None).unwrap()), None, "it has verified");
}
