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
    in_use::{Clients, InUse},
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
    /// something is wrong; that is reported at its key. `in_force`: the certificate that clients
    /// see already, which they go on to see when it has expired, if there is no other one.
    pub(crate) fn load(
        settings: &ServerTlsSettings,
        in_force: Option<&Certificates>,
        section: &mut Section<'_>,
    ) -> Option<Self> {
        let (cert, key) = (settings.cert.as_ref()?, settings.key.as_ref()?);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let is_in_force = in_force.is_some_and(|known| known.der == cert.der);
        let own = own((cert, is_in_force), key, &provider, section);
        let clients = match settings.client_auth() {
            ClientAuth::Off => Some(Clients::All),
            auth => verifier(settings, auth, &provider, section).map(Clients::Verified),
        };
        let ((certified, certificate), clients) = (own?, clients?);
        let config = Arc::new(config(settings, certified, &clients, provider, section)?);
        let in_use = Arc::new(InUse { config, clients });
        Some(Self { in_use, limits: settings.handshakes, certificate })
    }
}

/// What the library makes handshakes with.
fn config(
    settings: &ServerTlsSettings,
    certified: CertifiedKey,
    clients: &Clients,
    provider: Arc<CryptoProvider>,
    section: &mut Section<'_>,
) -> Option<ServerConfig> {
    let verifier = match clients {
        Clients::All => WebPkiClientVerifier::no_client_auth(),
        Clients::Verified(verifier) => Arc::clone(verifier),
    };
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
    Some(config)
}

/// The certificate with its key.
fn own(
    (cert, is_in_force): (&Certificates, bool),
    key: &PrivateKey,
    provider: &CryptoProvider,
    section: &mut Section<'_>,
) -> Option<(CertifiedKey, OwnCertificate)> {
    let about = report_at(described(cert), "cert", section);
    let about = about.filter(|own| is_valid_now(own, &cert.path, is_in_force, section));
    let certified = CertifiedKey::from_der(cert.der.clone(), key.der.clone_key(), provider);
    let certified = certified.map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("is not the key of the certificate in {}", quoted(&cert.path))
        }
        Error::InvalidCertificate(_) => format!("cannot be used with {}", quoted(&cert.path)),
        _ => because(&key.path, "this kind of key is not supported"),
    });
    Some((report_at(certified, "key", section)?, about?))
}

/// That a file cannot be used.
fn because(path: &str, why: &str) -> String {
    format!("cannot be read from the file {}: {why}", quoted(path))
}

/// Reports what is wrong at a key.
fn report_at<T>(
    result: Result<T, String>,
    key: &'static str,
    section: &mut Section<'_>,
) -> Option<T> {
    result.map_err(|why| section.refuse(key, &why)).ok()
}

/// Whom the first of some certificates is for, and when.
fn described(Certificates { path, der }: &Certificates) -> Result<OwnCertificate, String> {
    let unparsable = || because(path, "its first certificate cannot be parsed");
    let first = der.first().ok_or_else(unparsable)?;
    let first = EndEntityCert::try_from(first).map_err(|_| unparsable())?;
    let (not_before, not_after) = validity(&first).ok_or_else(unparsable)?;
    Ok(OwnCertificate { names: names(&first), not_before, not_after })
}

/// Whether a certificate can be used at this time. One that is in force can: to refuse it would
/// hold up what else has changed, and take nothing back.
fn is_valid_now(
    own: &OwnCertificate,
    path: &str,
    is_in_force: bool,
    section: &mut Section<'_>,
) -> bool {
    let (now, shown) = (SystemTime::now(), quoted(path));
    let [begin, end] = [own.not_before, own.not_after].map(shown_time);
    let wrong = if now > own.not_after {
        format!("the certificate in {shown} expired at {end}")
    } else if now < own.not_before {
        format!("the certificate in {shown} is valid from {begin} on")
    } else {
        if own.not_after.duration_since(now).is_ok_and(|left| left < SOON) {
            section.caution("cert", &format!("is the file of a certificate that expires at {end}"));
        }
        return true;
    };
    match is_in_force {
        true => section.caution("cert", &format!("needs another file: {wrong}, and is in force")),
        false => section.refuse("cert", &format!("cannot be used: {wrong}")),
    }
    is_in_force
}

/// What verifies client certificates.
fn verifier(
    settings: &ServerTlsSettings,
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
    section: &mut Section<'_>,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let roots = report_at(roots(settings.client_ca.as_ref()?), "client_ca", section)?;
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
