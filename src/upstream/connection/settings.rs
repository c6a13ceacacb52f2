//! The settings of TLS to an upstream.

use std::sync::Arc;

use rustls::{
    ALL_VERSIONS, RootCertStore, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
    sign::CertifiedKey,
    version::TLS13,
};

use crate::settings::{
    Certificates, Kind, PrivateKey, Section, certificates, one_of, plain_text, private_key,
    settings,
};

/// Longest name of a host.
const MAX_NAME: usize = 253;

settings! {
    /// How TLS to an upstream is set up.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TlsSettings {
        /// Certificates of the authorities that issue those of the upstream. `roots` says whether
        /// they count beside what the system trusts.
        ca_file: Option<Certificates> = None, certificates().optional();
        /// The authorities that are trusted: those of the `system`, those in the `file` that
        /// `ca_file` names, or `both`.
        roots: Roots = Roots::System,
            one_of(&[("system", Roots::System), ("file", Roots::File), ("both", Roots::Both)]);
        /// Certificate that the gateway shows if it is asked for one, followed by those of its
        /// issuers.
        cert: Option<Certificates> = None, certificates().optional();
        /// The private key of `cert`.
        key: Option<PrivateKey> = None, private_key().optional();
        /// Name of the upstream in its certificate, if that is not the host of `base_url`. It is
        /// asked for by this name in the handshake (SNI) and in `Host`, at the address of
        /// `base_url`.
        server_name: Option<String> = None,
            plain_text(MAX_NAME)
                .checked("a host name, not an address", |name: &String| is_host_name(name))
                .optional();
        /// Oldest version of TLS.
        min_version: TlsVersion = TlsVersion::V1_2,
            one_of(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]);
    }
    check fits_together;
}

/// The authorities that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots {
    /// Those that the system trusts.
    System,
    /// Those of `ca_file`.
    File,
    /// Both.
    Both,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl TlsVersion {
    /// This version and those after it.
    pub(super) fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        static ONLY_1_3: [&SupportedProtocolVersion; 1] = [&TLS13];
        match self {
            Self::V1_2 => ALL_VERSIONS,
            Self::V1_3 => &ONLY_1_3,
        }
    }
}

impl TlsSettings {
    /// The authorities of `ca_file`; empty without one. Otherwise which of its certificates cannot
    /// be one, and why.
    pub(super) fn authorities(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let certificates = self.ca_file.iter().flat_map(|file| &file.der);
        for (index, certificate) in certificates.enumerate() {
            let added = roots.add(certificate.clone());
            added.map_err(|error| format!("certificate {} of the file: {error}", index + 1))?;
        }
        Ok(roots)
    }

    /// The client certificate with its key, if there is one, or why they cannot be used.
    pub(super) fn identity(&self) -> Result<Option<CertifiedKey>, rustls::Error> {
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else { return Ok(None) };
        CertifiedKey::from_der(cert.der.clone(), key.der.clone_key(), &provider()).map(Some)
    }
}

/// The cryptography of the process.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let installed = CryptoProvider::get_default().map(Arc::clone);
    installed.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

fn is_host_name(name: &str) -> Result<(), String> {
    match ServerName::try_from(name) {
        Ok(ServerName::DnsName(_)) => Ok(()),
        _ => Err("must be the name of a host such as `pcc.example.com`".to_owned()),
    }
}

fn fits_together(settings: &TlsSettings, section: &mut Section<'_>) {
    match (&settings.ca_file, settings.roots) {
        (None, Roots::File | Roots::Both) => {
            let message = format!("{} needs {}", section.name("roots"), section.name("ca_file"));
            section.conflict(["roots", "ca_file"], message);
        }
        (Some(_), Roots::System) => {
            let message = format!(
                "{} is not used while {} is `system`: write `roots = \"file\"` to trust only what \
                 it names, or `roots = \"both\"`",
                section.name("ca_file"),
                section.name("roots")
            );
            section.conflict(["ca_file", "roots"], message);
        }
        _ => {}
    }
    if let Err(why) = settings.authorities() {
        section.refuse("ca_file", &format!("has what cannot be an authority, {why}"));
    }
    if settings.cert.is_some() != settings.key.is_some() {
        let (cert, key) = (section.name("cert"), section.name("key"));
        section.conflict(["cert", "key"], format!("{cert} and {key} need each other"));
    }
    match settings.identity() {
        Ok(_) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let message = format!(
                "{} is not the key of the first certificate of {}",
                section.name("key"),
                section.name("cert")
            );
            section.conflict(["key", "cert"], message);
        }
        Err(error) => {
            let message = format!(
                "{} and {} cannot be used: {error}",
                section.name("cert"),
                section.name("key")
            );
            section.conflict(["cert", "key"], message);
        }
    }
}
