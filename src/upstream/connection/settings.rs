//! The settings of TLS to an upstream.

use rustls::{
    ALL_VERSIONS, RootCertStore, SupportedProtocolVersion, sign::CertifiedKey, version::TLS13,
};

use crate::settings::{
    Certificates, Kind, PrivateKey, Section, authorities, certificates, check_files, identity,
    one_of, private_key, server_name, settings,
};

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
        server_name: Option<String> = None, server_name().optional();
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
        authorities(self.ca_file.as_ref())
    }

    /// The client certificate with its key, if there is one, or why they cannot be used.
    pub(super) fn identity(&self) -> Result<Option<CertifiedKey>, rustls::Error> {
        identity(self.cert.as_ref(), self.key.as_ref())
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
    let TlsSettings { ca_file, cert, key, .. } = settings;
    check_files(ca_file.as_ref(), cert.as_ref(), key.as_ref(), section);
}
