//! What can be configured of TLS on the gRPC port: `[server.tls]`.

use std::{ops::RangeInclusive, time::Duration};

use crate::auth::spiffe;
use crate::settings::{
    Certificates, Kind as _, PrivateKey, RevocationLists, Section, Settings as _,
    bounds::{CONCURRENCY, minutes, seconds},
    certificates, count, duration, one_of, plain_text, private_key, revocation_lists, settings,
};

const HANDSHAKE: RangeInclusive<Duration> = Duration::from_millis(100)..=minutes(1);

settings! {
    /// TLS on the gRPC port. The other ports have none.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ServerTlsSettings {
        /// PEM file of the certificate that clients see, followed by those of its chain. With it,
        /// the gRPC port speaks TLS and nothing else.
        cert: Option<Certificates> = None, certificates().optional();
        /// PEM file of the private key of `cert`, which only the gateway should be able to read.
        key: Option<PrivateKey> = None, private_key().optional();
        /// PEM file of the authorities whose client certificates are valid.
        client_ca: Option<Certificates> = None, certificates().optional();
        /// Whether clients have to show a certificate: `required` and `optional` need `client_ca`,
        /// and a certificate that is not valid is refused with both. Without this key, `required`
        /// with `client_ca` and `off` without.
        client_auth: Option<ClientAuth> = None, one_of(CLIENT_AUTH).optional();
        /// PEM file of revocation lists (CRL), with one of each authority in the chains of clients.
        /// A client certificate that is in one is refused, and so is one whose authority has none.
        client_crl: Option<RevocationLists> = None, revocation_lists().optional();
        /// SPIFFE trust domain, such as `example.org`. A client certificate has to name one URI, a
        /// SPIFFE id of this domain, or it is refused. Without this key, only one that names a
        /// SPIFFE id beside another URI is.
        trust_domain: Option<String> = None, plain_text(spiffe::MAX_DOMAIN_BYTES)
            .checked("lower-case letters, digits, `.`, `-`, `_`", |text| names_a_domain(text))
            .optional();
        /// Oldest version of TLS that is spoken.
        min_version: TlsVersion = TlsVersion::Tls12, one_of(VERSIONS);
        ..handshakes: HandshakeLimits, "How many handshakes there may be, and how long one may \
                                        take.";
    }
    check belongs_together;
}

settings! {
    /// How many handshakes there may be, and how long one may take.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct HandshakeLimits {
        /// TLS handshakes at the same time. One more waits, and callers take turns; meanwhile one
        /// that takes longer than a second is ended.
        max_handshakes: usize = 256, count(CONCURRENCY);
        /// How long a TLS handshake may take, with the wait for its turn. The time until the first
        /// request, `first_request_timeout`, goes on meanwhile.
        handshake_timeout: Duration = seconds(10), duration(HANDSHAKE);
    }
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They have to.
    Required,
    /// They may. One that is shown has to be valid.
    Optional,
    /// They are not asked for one.
    Off,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

const CLIENT_AUTH: &[(&str, ClientAuth)] = &[
    ("required", ClientAuth::Required),
    ("optional", ClientAuth::Optional),
    ("off", ClientAuth::Off),
];
const VERSIONS: &[(&str, TlsVersion)] = &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

impl ServerTlsSettings {
    /// Whether clients have to show a certificate.
    #[must_use]
    pub fn client_auth(&self) -> ClientAuth {
        let default = match self.client_ca {
            Some(_) => ClientAuth::Required,
            None => ClientAuth::Off,
        };
        self.client_auth.unwrap_or(default)
    }

    /// Whether other clients are accepted than with the settings before.
    #[must_use]
    pub fn accepts_others_than(&self, before: &Self) -> bool {
        self.clients() != before.clients()
    }

    /// What says which clients are accepted, wherever it was read.
    fn clients(&self) -> impl PartialEq {
        (
            self.client_auth(),
            self.client_ca.as_ref().map(|file| &file.der),
            self.client_crl.as_ref().map(|file| &file.der),
            self.trust_domain.as_ref(),
        )
    }

    /// Whether a key of the section can change while the port serves.
    #[must_use]
    pub fn is_live(key: &str) -> bool {
        HandshakeLimits::rows().iter().all(|row| row.key != key)
    }

    /// What is in force after these settings, while the port serves.
    #[must_use]
    pub fn followed_by(&self, new: &Self) -> Self {
        Self { handshakes: self.handshakes, ..new.clone() }
    }
}

fn names_a_domain(text: &str) -> Result<(), String> {
    let why = "must be the name of a trust domain such as `example.org`, in lower case and without \
               `spiffe://`";
    if spiffe::is_trust_domain(text) { Ok(()) } else { Err(why.to_owned()) }
}

fn belongs_together(settings: &ServerTlsSettings, section: &mut Section<'_>) {
    let ServerTlsSettings { cert, key, client_ca, client_auth, client_crl, trust_domain, .. } =
        settings;
    match (cert, key) {
        (Some(_), None) => section.conflict(["cert", "key"], NO_KEY),
        (None, Some(_)) => section.conflict(["key", "cert"], NO_CERT),
        _ => {}
    }
    let of_clients = [
        ("client_ca", client_ca.is_some()),
        ("client_crl", client_crl.is_some()),
        ("trust_domain", trust_domain.is_some()),
    ];
    for (name, _) in of_clients.into_iter().filter(|(_, is_set)| *is_set) {
        if cert.is_none() && key.is_none() {
            section.refuse(name, "has no effect without `cert` and `key`");
        } else if settings.client_auth() == ClientAuth::Off {
            section.refuse(name, NO_CLIENT_AUTH);
        }
    }
    match client_auth {
        Some(ClientAuth::Required | ClientAuth::Optional) if client_ca.is_none() => {
            section.refuse("client_auth", "needs `client_ca`, unless it is `off`");
        }
        Some(_) if cert.is_none() && key.is_none() => {
            section.refuse("client_auth", "has no effect without `cert` and `key`");
        }
        _ => {}
    }
}

const NO_KEY: &str = "`server.tls.cert` needs `server.tls.key`, the private key of the certificate";
const NO_CERT: &str = "`server.tls.key` needs `server.tls.cert`, the certificate of the key";
const NO_CLIENT_AUTH: &str = "is about client certificates, which clients are not asked for \
    without `client_ca`, or with `client_auth = \"off\"`";
