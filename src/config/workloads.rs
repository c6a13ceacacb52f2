//! Which workloads can prove themselves by certificates: what callers and proxies are held against.

use crate::{
    auth::{AuthSettings, Proxy, spiffe},
    server::{ClientAuth, ServerTlsSettings},
    settings::{ListenAddress, Section, quoted},
};

/// How the gateway learns of certificates.
pub(super) struct Workloads<'t> {
    /// Clients of the gRPC port show their own, of this domain if there is one. Unknown if the
    /// settings have mistakes.
    own: Option<bool>,
    trust_domain: Option<&'t str>,
    /// Proxies tell of those of their clients.
    forwarded: bool,
    is_socket: bool,
}

impl<'t> Workloads<'t> {
    /// By these settings of TLS, if they have no mistake.
    pub(super) fn of(
        listen: &ListenAddress,
        tls: Option<&'t ServerTlsSettings>,
        auth: &AuthSettings,
    ) -> Self {
        let shows =
            |tls: &ServerTlsSettings| tls.cert.is_some() && tls.client_auth() != ClientAuth::Off;
        Self {
            own: tls.map(shows),
            trust_domain: tls.and_then(|tls| tls.trust_domain.as_deref()),
            forwarded: auth.xfcc_from.is_some(),
            is_socket: matches!(listen, ListenAddress::Unix(_)),
        }
    }

    /// Refuses a caller whose certificate no one can show.
    pub(super) fn check_caller(&self, pattern: &str, section: &mut Section<'_>) {
        // A proxy may have verified a certificate of any domain.
        if self.forwarded {
            return;
        }
        match self.own {
            Some(false) => section.refuse("spiffe", UNPROVED),
            Some(true) if !self.is_of_domain(pattern) => section.refuse("spiffe", OTHER_DOMAIN),
            _ => {}
        }
    }

    /// Refuses proxies that cannot be there.
    pub(super) fn check_proxies(&self, auth: &AuthSettings, section: &mut Section<'_>) {
        for proxy in auth.xfcc_from.iter().flatten() {
            let why = match proxy {
                Proxy::Named(_) if self.own == Some(false) => NO_CERTIFICATES,
                Proxy::Named(pattern) if self.own == Some(true) && !self.is_of_domain(pattern) => {
                    OTHER_DOMAIN
                }
                Proxy::At(_) if self.is_socket => NO_ADDRESSES,
                Proxy::User(_) if !self.is_socket => NO_USERS,
                Proxy::At(network) if network.is_wide() => {
                    section.caution("xfcc_from", &format!("names `{network}`, which {WIDE}"));
                    continue;
                }
                _ => continue,
            };
            section.refuse("xfcc_from", &format!("has {}, which {why}", quoted(&proxy.shown())));
        }
    }

    fn is_of_domain(&self, pattern: &str) -> bool {
        self.trust_domain.is_none_or(|domain| spiffe::trust_domain(pattern) == Some(domain))
    }
}

const UNPROVED: &str = "can be proved by no one: set `client_ca` in `[server.tls]`, so that \
    clients show certificates, or `xfcc_from` in `[auth]`, so that proxies tell of those of their \
    clients";
const OTHER_DOMAIN: &str = "is not of `server.tls.trust_domain`, so its certificate is refused";
const NO_CERTIFICATES: &str = "is proved by a certificate, and clients are not asked for one: set \
    `client_ca` in `[server.tls]`";
const NO_ADDRESSES: &str = "is an address, and `listen` is a Unix socket, whose clients have none; \
    name the user that the proxy runs as, such as `uid:1337`";
const WIDE: &str = "has many addresses: who calls from any of them can be any caller; name the \
    proxies alone";
const NO_USERS: &str = "is a user of this machine, as clients are known on a Unix socket, and \
    `listen` is not the path of one";
