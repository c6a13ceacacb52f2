//! What certificates and keys of files are good for in a TLS client: whom it trusts, and what it
//! shows of itself.

use std::sync::Arc;

use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
    sign::CertifiedKey,
};

use super::{
    kind::Kind,
    kinds::plain_text,
    pem::{Certificates, PrivateKey},
    section::Section,
};

/// Longest name of a host.
const MAX_NAME: usize = 253;

/// The cryptography of the process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let installed = CryptoProvider::get_default().map(Arc::clone);
    installed.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

/// The authorities of a file; empty without one. Otherwise which of its certificates cannot be one,
/// and why.
pub(crate) fn authorities(file: Option<&Certificates>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in file.iter().flat_map(|file| &file.der).enumerate() {
        let added = roots.add(certificate.clone());
        added.map_err(|error| format!("certificate {} of the file: {error}", index + 1))?;
    }
    Ok(roots)
}

/// The client certificate with its key, if there is one, or why they cannot be used.
pub(crate) fn identity(
    cert: Option<&Certificates>,
    key: Option<&PrivateKey>,
) -> Result<Option<CertifiedKey>, rustls::Error> {
    let (Some(cert), Some(key)) = (cert, key) else { return Ok(None) };
    CertifiedKey::from_der(cert.der.clone(), key.der.clone_key(), &provider()).map(Some)
}

/// The name of a server in its certificate.
pub(crate) fn server_name() -> impl Kind<Value = String> {
    let check = |name: &String| match ServerName::try_from(name.as_str()) {
        Ok(ServerName::DnsName(_)) => Ok(()),
        _ => Err("must be the name of a host such as `pcc.example.com`".to_owned()),
    };
    plain_text(MAX_NAME).checked("a host name, not an address", check)
}

/// Reports what of the keys `ca_file`, `cert`, and `key` cannot be used.
pub(crate) fn check_files(
    ca_file: Option<&Certificates>,
    cert: Option<&Certificates>,
    key: Option<&PrivateKey>,
    section: &mut Section<'_>,
) {
    if let Err(why) = authorities(ca_file) {
        section.refuse("ca_file", &format!("has what cannot be an authority, {why}"));
    }
    let names = (section.name("cert"), section.name("key"));
    if cert.is_some() != key.is_some() {
        section.conflict(["cert", "key"], format!("{} and {} need each other", names.0, names.1));
    }
    match identity(cert, key) {
        Ok(_) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let message =
                format!("{} is not the key of the first certificate of {}", names.1, names.0);
            section.conflict(["key", "cert"], message);
        }
        Err(error) => {
            let message = format!("{} and {} cannot be used: {error}", names.0, names.1);
            section.conflict(["cert", "key"], message);
        }
    }
}
