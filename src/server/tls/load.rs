//! From the settings of TLS to what handshakes need, with every mistake in them that no single key
//! shows.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use webpki::EndEntityCert;

use super::{
    OwnCertificate, Tls,
    certificate::{names, shown_time, validity},
    verifier::OfWorkload,
};
use crate::{
    server::settings::{ClientAuth, ServerTlsSettings, TlsVersion},
    settings::{Certificates, PrivateKey, Section, quoted},
};

/// How long before its end a certificate is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl Tls {
    /// Puts together what the files of the settings hold. `None` if they name no certificate, or
    /// something is wrong; that is reported at its key.
    pub(crate) fn load(settings: &ServerTlsSettings, section: &mut Section<'_>) -> Option<Self> {
        let (cert, key) = (settings.cert.as_ref()?, settings.key.as_ref()?);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let own = own(cert, key, &provider, section);
        let verifier = match settings.client_auth() {
            ClientAuth::Off => Some(WebPkiClientVerifier::no_client_auth()),
            auth => verifier(settings, auth, &provider, section),
        };
        let ((certified, certificate), verifier) = (own?, verifier?);
        let versions: &[&SupportedProtocolVersion] = match settings.min_version {
            TlsVersion::Tls12 => &[&TLS12, &TLS13],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let built = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let mut config = match built {
            Ok(config) => config
                .with_client_cert_verifier(verifier)
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified))),
            Err(_) => {
                section.refuse("min_version", "is not supported by this build");
                return None;
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        // What resumes a session shows no certificate, so one that has expired or was revoked since
        // would still do. A connection carries many calls: one handshake each costs little.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Some(Self { config: Arc::new(config), limits: settings.handshakes, certificate })
    }
}

/// The certificate with its key.
fn own(
    cert: &Certificates,
    key: &PrivateKey,
    provider: &CryptoProvider,
    section: &mut Section<'_>,
) -> Option<(CertifiedKey, OwnCertificate)> {
    let about = refused(described(cert), "cert", section);
    if let Some(own) = &about {
        ends_soon(own, section);
    }
    let certified = CertifiedKey::from_der(cert.der.clone(), key.der.clone_key(), provider);
    let certified = certified.map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("is not the key of the certificate in {}", quoted(&cert.path))
        }
        Error::InvalidCertificate(_) => format!("cannot be used with {}", quoted(&cert.path)),
        _ => because(&key.path, "this kind of key is not supported"),
    });
    Some((refused(certified, "key", section)?, about?))
}

/// That a file cannot be used.
fn because(path: &str, why: &str) -> String {
    format!("cannot be read from the file {}: {why}", quoted(path))
}

/// Reports what is wrong at a key.
fn refused<T>(
    result: Result<T, String>,
    key: &'static str,
    section: &mut Section<'_>,
) -> Option<T> {
    result.map_err(|why| section.refuse(key, &why)).ok()
}

/// Whom the first of some certificates is for, which has to be valid now.
fn described(Certificates { path, der }: &Certificates) -> Result<OwnCertificate, String> {
    let unparsable = || because(path, "its first certificate cannot be parsed");
    let first = der.first().ok_or_else(unparsable)?;
    let first = EndEntityCert::try_from(first).map_err(|_| unparsable())?;
    let (not_before, not_after) = validity(&first).ok_or_else(unparsable)?;
    let (now, shown) = (SystemTime::now(), quoted(path));
    if now > not_after {
        let end = shown_time(not_after);
        return Err(format!("cannot be used: the certificate in {shown} expired at {end}"));
    }
    if now < not_before {
        let begin = shown_time(not_before);
        return Err(format!("cannot be used: the certificate in {shown} is valid from {begin} on"));
    }
    Ok(OwnCertificate { names: names(&first), not_after })
}

fn ends_soon(own: &OwnCertificate, section: &mut Section<'_>) {
    if own.not_after.duration_since(SystemTime::now()).is_ok_and(|left| left < SOON) {
        let end = shown_time(own.not_after);
        section.caution("cert", &format!("is the file of a certificate that expires at {end}"));
    }
}

/// What verifies client certificates.
fn verifier(
    settings: &ServerTlsSettings,
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
    section: &mut Section<'_>,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let roots = refused(roots(settings.client_ca.as_ref()?), "client_ca", section)?;
    let lists = settings.client_crl.iter().flat_map(|file| file.der.clone());
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = builder.with_crls(lists);
    let built = match auth {
        ClientAuth::Optional => builder.allow_unauthenticated().build(),
        ClientAuth::Required | ClientAuth::Off => builder.build(),
    };
    let inner = match built {
        Ok(verifier) => verifier,
        Err(VerifierBuilderError::InvalidCrl(_)) => {
            section.refuse("client_crl", "names a file with a revocation list that is not valid");
            return None;
        }
        Err(_) => {
            section.refuse("client_ca", "names a file that no certificate can be verified with");
            return None;
        }
    };
    Some(Arc::new(OfWorkload { inner, trust_domain: settings.trust_domain.clone() }))
}

/// The authorities of client certificates.
fn roots(Certificates { path, der }: &Certificates) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in der {
        roots.add(certificate.clone()).map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::BadEncoding) => {
                because(path, "one of its certificates cannot be parsed")
            }
            _ => because(path, "one of its certificates cannot be that of an authority"),
        })?;
    }
    Ok(Arc::new(roots))
}
