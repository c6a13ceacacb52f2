//! The settings of TLS to the shared store.

use crate::settings::{
    Certificates, Kind as _, PrivateKey, Section, certificates, check_files, private_key,
    server_name, settings,
};

settings! {
    /// How TLS to the shared store is set up.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SharedTlsSettings {
        /// Certificates of the authorities that issue those of the server and the Sentinels, in
        /// place of those that the system trusts.
        ca_file: Option<Certificates> = None, certificates().optional();
        /// Certificate that the gateway shows if it is asked for one, followed by those of its
        /// issuers.
        cert: Option<Certificates> = None, certificates().optional();
        /// The private key of `cert`.
        key: Option<PrivateKey> = None, private_key().optional();
        /// Name of the server in its certificate, if that is not the host that it is reached at:
        /// Sentinels often name a server by its address.
        server_name: Option<String> = None, server_name().optional();
    }
    check fits_together;
}

fn fits_together(settings: &SharedTlsSettings, section: &mut Section<'_>) {
    let SharedTlsSettings { ca_file, cert, key, .. } = settings;
    check_files(ca_file.as_ref(), cert.as_ref(), key.as_ref(), section);
}
