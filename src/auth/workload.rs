//! The workload that calls: by the certificate of its connection, or by what its proxy says.

use std::borrow::Cow;

use super::{
    certificate::Certificate,
    xfcc::{self, Malformed},
};

/// What says which workload calls.
#[derive(Clone, Copy)]
pub(super) enum Workload<'p> {
    /// The certificate of the connection.
    Connected(&'p Certificate),
    /// The header of a proxy that is believed.
    Forwarded(&'p [u8]),
}

impl<'p> Workload<'p> {
    /// Its SPIFFE id, if it has one.
    ///
    /// # Errors
    ///
    /// When a proxy does not say exactly one.
    pub(super) fn spiffe(self) -> Result<Option<Cow<'p, str>>, Malformed> {
        match self {
            Self::Connected(certificate) => Ok(certificate.spiffe().map(Cow::Borrowed)),
            Self::Forwarded(header) => Ok(Some(xfcc::spiffe_id(header)?.into())),
        }
    }

    /// What it is remembered by: what sort it is, and what it says, as it came.
    pub(super) fn bytes(self) -> (u8, &'p [u8]) {
        match self {
            Self::Connected(certificate) => {
                (1, certificate.spiffe().unwrap_or_default().as_bytes())
            }
            Self::Forwarded(header) => (2, header),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        auth::{
            AuthMetrics, Authenticator, Identity, Peer, PreparedRules, Proofs, Sent,
            proxies::Proxy,
            settings::{AuthRules, AuthSettings, Mode, PrincipalSettings},
        },
        caller::Callers,
    };

    const HEADER: &str = "By=spiffe://example.org/proxy;URI=spiffe://example.org/a";

    fn rules(name: &str) -> AuthRules {
        let proof = PrincipalSettings {
            spiffe: Some("spiffe://example.org/a".to_owned()),
            ..PrincipalSettings::default()
        };
        let settings = AuthSettings {
            mode: Mode::Required,
            xfcc_from: Some(vec![Proxy::read("127.0.0.1").unwrap()]),
            ..AuthSettings::default()
        };
        let callers = [(name.parse().unwrap(), proof)].into_iter().collect();
        AuthRules { settings, callers, ..AuthRules::default() }
    }

    fn identified(by: &Authenticator, header: &str, address: &str) -> Option<Arc<Identity>> {
        let proofs = Proofs {
            authorization: Sent::Nothing,
            forwarded: Sent::One(header.as_bytes()),
            peer: Some(Peer::Address(address.parse().unwrap())),
            certificate: None,
            caller: None,
        };
        by.identify(&proofs).ok()
    }

    #[test]
    fn whom_a_header_is_of_is_found_out_once_by_the_same_rules() {
        let callers = Callers::default();
        let metrics = AuthMetrics::default();
        let before = PreparedRules::new(&rules("before"), &metrics).unwrap().configure(&callers);
        let first = identified(&before, HEADER, "127.0.0.1").unwrap();
        assert_eq!(first.name(), Some("before"));
        let again = identified(&before, HEADER, "127.0.0.1").unwrap();
        assert!(Arc::ptr_eq(&first, &again), "it was made again");
        // Who is not believed gains nothing by what a proxy has sent.
        assert!(identified(&before, HEADER, "127.0.0.2").is_none());
        assert!(identified(&before, &format!("{HEADER};"), "127.0.0.1").is_none());
        let other = HEADER.replace("org/a", "org/b");
        assert_eq!(identified(&before, &other, "127.0.0.1").unwrap().name(), None);
        let after = PreparedRules::after(&before, &rules("after")).unwrap().configure(&callers);
        assert_eq!(identified(&after, HEADER, "127.0.0.1").unwrap().name(), Some("after"));
    }
}
