//! What keeps the gateway from a connection to an upstream, as the errors of TLS and of the
//! proxy say it.

use std::{error::Error, io};

use http::Uri;
use hyper_util::client::legacy::connect::{HttpConnector, proxy::Tunnel};
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use tower::Service;

use super::causes::find;
use crate::telemetry::label_values;

label_values! {
    /// What keeps the gateway from a connection to an upstream. Nothing of a request was carried
    /// out.
    pub(in crate::upstream) enum ConnectionFault {
        /// Its host name has no address.
        NameNotResolved = "name_not_resolved",
        /// It takes no connection.
        Unreachable = "unreachable",
        /// There was no connection within `connect_timeout`.
        ConnectTimeout = "connect_timeout",
        /// It does not speak TLS.
        NotTls = "not_tls",
        /// It has no version of TLS in common with the gateway.
        TlsVersion = "tls_version_not_supported",
        /// Its certificate was issued by an authority that is not trusted.
        UnknownIssuer = "unknown_issuer",
        /// Its certificate is for another name.
        NameMismatch = "name_mismatch",
        /// Its certificate has expired.
        CertificateExpired = "certificate_expired",
        /// Its certificate is not valid yet.
        CertificateNotYetValid = "certificate_not_yet_valid",
        /// Its certificate is not accepted for another reason.
        CertificateInvalid = "certificate_invalid",
        /// It wants a client certificate, and the gateway has none.
        ClientCertificateWanted = "client_certificate_wanted",
        /// It refuses the client certificate of the gateway.
        ClientCertificateRefused = "client_certificate_refused",
        /// The TLS handshake failed for another reason.
        TlsHandshake = "tls_handshake_failed",
        /// The proxy takes no connection.
        ProxyUnreachable = "proxy_unreachable",
        /// There is no TLS with the proxy.
        ProxyTls = "proxy_tls_failed",
        /// The proxy wants to know the gateway, or does not know it (407).
        ProxyCredentials = "proxy_credentials_refused",
        /// The proxy answers that it opens no tunnel.
        ProxyRefused = "proxy_refused",
        /// The proxy gave no answer that HTTP knows.
        ProxyFailed = "proxy_failed",
    }
}

impl ConnectionFault {
    /// Whether there may be a connection the next time, although no person changes something.
    pub(in crate::upstream) fn may_pass(self) -> bool {
        matches!(
            self,
            Self::NameNotResolved
                | Self::Unreachable
                | Self::ConnectTimeout
                | Self::ProxyUnreachable
                | Self::ProxyFailed
        )
    }
}

/// How the client opens tunnels through proxies. Its error has no other name.
type TunnelError = <Tunnel<HttpConnector> as Service<Uri>>::Error;

/// A connection that did not come about, or that ended before it served anything.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Unconnected {
    pub(in crate::upstream) fault: ConnectionFault,
    /// What is wrong and what can be done: the rest of a sentence about the upstream.
    pub(in crate::upstream) why: String,
}

impl Unconnected {
    fn new(fault: ConnectionFault, why: impl Into<String>) -> Self {
        Self { fault, why: why.into() }
    }

    /// The proxy wants to know the gateway, or does not know it.
    pub(in crate::upstream) fn proxy_credentials(shown: bool) -> Self {
        let why = match shown {
            true => {
                "its proxy refuses the gateway's name or password (407); check \
                     `proxy_username` and `proxy_password`"
            }
            false => {
                "its proxy wants a name and a password (407); set `proxy_username` and \
                      `proxy_password`"
            }
        };
        Self::new(ConnectionFault::ProxyCredentials, why)
    }

    /// It does not go on without a client certificate that it accepts.
    pub(in crate::upstream) fn client_certificate(has_one: bool) -> Self {
        if has_one {
            let why = "it refuses the gateway's client certificate; check that `tls.cert` is \
                       valid, and known to the upstream";
            return Self::new(ConnectionFault::ClientCertificateRefused, why);
        }
        let why = "it wants a client certificate, and the gateway has none; set `tls.cert` and \
                   `tls.key`";
        Self::new(ConnectionFault::ClientCertificateWanted, why)
    }
}

/// The alerts about the client's certificate. An upstream sends them before it handles anything,
/// although in TLS 1.3 that is after the client may have sent a request.
const ABOUT_CLIENT: [AlertDescription; 8] = [
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
];

/// What TLS says of why a request was not processed; `None` if it may have been. `connecting`:
/// there was no connection yet. `certified`: the gateway has a client certificate.
pub(super) fn tls(
    error: &(dyn Error + 'static),
    connecting: bool,
    certified: bool,
) -> Option<Unconnected> {
    let about_client = |alert| {
        // Asked for, and not shown.
        let required = alert == AlertDescription::CertificateRequired;
        Unconnected::client_certificate(certified && !required)
    };
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(error)) => Some(certificate(error)),
        Some(rustls::Error::AlertReceived(alert)) if ABOUT_CLIENT.contains(alert) => {
            Some(about_client(*alert))
        }
        // On a connection that works, anything else may come after the request was processed.
        Some(error) => connecting.then(|| handshake(error)),
        None => {
            // Of an error of IO, HTTP/2 keeps only the text. No upstream can make that text up.
            let text = find::<io::Error>(error)?.to_string();
            let says = |alert| rustls::Error::AlertReceived(alert).to_string() == text;
            ABOUT_CLIENT.into_iter().find(|alert| says(*alert)).map(about_client)
        }
    }
}

/// What keeps the proxy from opening a tunnel, if it is the proxy. `shown`: the gateway showed a
/// name and a password. `certified`: it has a client certificate.
pub(in crate::upstream) fn of_proxy(
    error: &(dyn Error + 'static),
    shown: bool,
    certified: bool,
) -> Option<Unconnected> {
    use ConnectionFault::{ProxyFailed, ProxyRefused, ProxyTls, ProxyUnreachable};
    Some(match find::<TunnelError>(error)? {
        TunnelError::ProxyAuthRequired => Unconnected::proxy_credentials(shown),
        TunnelError::TunnelUnsuccessful => Unconnected::new(
            ProxyRefused,
            "its proxy opens no tunnel to it: it may not allow that host or port (403), or not \
             reach it itself (502, 503, 504); the proxy's log says which",
        ),
        TunnelError::ConnectFailed(_) => match tls(error, true, certified) {
            Some(why) => {
                Unconnected::new(ProxyTls, format!("there is no TLS with its proxy: {}", why.why))
            }
            None => Unconnected::new(
                ProxyUnreachable,
                "its proxy takes no connection; check `proxy`, and whether the proxy runs",
            ),
        },
        TunnelError::Io(_)
        | TunnelError::MissingHost
        | TunnelError::ProxyHeadersTooLong
        | TunnelError::TunnelUnexpectedEof => Unconnected::new(
            ProxyFailed,
            "its proxy ended the connection, or answered with what is not HTTP; check `proxy`",
        ),
    })
}

fn handshake(error: &rustls::Error) -> Unconnected {
    use ConnectionFault::{NameMismatch, NotTls, TlsHandshake, TlsVersion};
    match error {
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => Unconnected::new(
            TlsHandshake,
            "it refuses the TLS handshake: it may want a client certificate, or a TLS version or \
             cipher that the gateway does not have",
        ),
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => Unconnected::new(
            NameMismatch,
            "it does not serve the host name of base_url; correct it, or set `tls.server_name`",
        ),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Unconnected::new(
            TlsVersion,
            "it has no TLS version in common with the gateway, which speaks 1.2 and 1.3, or only \
             1.3 by `tls.min_version`",
        ),
        rustls::Error::AlertReceived(alert) => {
            Unconnected::new(TlsHandshake, format!("it ended the TLS handshake by alert {alert:?}"))
        }
        rustls::Error::InvalidMessage(_) => Unconnected::new(
            NotTls,
            "it does not speak TLS at the address of base_url, which may have to begin with http:",
        ),
        rustls::Error::PeerIncompatible(_) => {
            Unconnected::new(TlsHandshake, "it has no TLS cipher in common with the gateway")
        }
        other => Unconnected::new(TlsHandshake, format!("the TLS handshake failed: {other}")),
    }
}

fn certificate(error: &CertificateError) -> Unconnected {
    use ConnectionFault as Fault;
    let (fault, what) = match error {
        CertificateError::UnknownIssuer => (
            Fault::UnknownIssuer,
            "was issued by an authority that the gateway does not trust (unknown issuer); name \
             its certificate in `tls.ca_file`",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            Fault::NameMismatch,
            "is for another host name than that of base_url (name mismatch); correct it, or set \
             `tls.server_name`",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            Fault::CertificateExpired,
            "has expired; its operator has to renew it, unless the gateway's clock is wrong",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (Fault::CertificateNotYetValid, "is not valid yet; check the clocks")
        }
        CertificateError::Revoked => (Fault::CertificateInvalid, "was revoked"),
        other => {
            let why = format!("its certificate is not accepted: {other}");
            return Unconnected::new(Fault::CertificateInvalid, why);
        }
    };
    Unconnected::new(fault, format!("its certificate {what}"))
}

#[cfg(test)]
mod tests {
    use super::{ConnectionFault as Fault, *};

    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn tls_faults_are_told_apart() {
        let invalid = rustls::Error::InvalidCertificate;
        let alert = rustls::Error::AlertReceived;
        let incompatible = rustls::Error::PeerIncompatible;
        for (error, fault, expected) in [
            (invalid(CertificateError::UnknownIssuer), Fault::UnknownIssuer, "unknown issuer"),
            (invalid(CertificateError::NotValidForName), Fault::NameMismatch, "name mismatch"),
            (invalid(CertificateError::Expired), Fault::CertificateExpired, "has expired"),
            (invalid(CertificateError::NotValidYet), Fault::CertificateNotYetValid, "clocks"),
            (invalid(CertificateError::Revoked), Fault::CertificateInvalid, "revoked"),
            (invalid(CertificateError::BadEncoding), Fault::CertificateInvalid, "not accepted"),
            (
                alert(AlertDescription::CertificateRequired),
                Fault::ClientCertificateWanted,
                "wants a client certificate",
            ),
            (
                alert(AlertDescription::HandshakeFailure),
                Fault::TlsHandshake,
                "may want a client certificate",
            ),
            (alert(AlertDescription::UnrecognisedName), Fault::NameMismatch, "host name"),
            (alert(AlertDescription::ProtocolVersion), Fault::TlsVersion, "TLS version"),
            (alert(AlertDescription::InternalError), Fault::TlsHandshake, "InternalError"),
            (
                incompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
                Fault::TlsVersion,
                "TLS version",
            ),
            (incompatible(PeerIncompatible::NoCipherSuitesInCommon), Fault::TlsHandshake, "cipher"),
        ] {
            let told = tls(&wrapped(error.clone()), true, false).unwrap();
            assert_eq!(told.fault, fault, "{error:?}");
            assert!(told.why.contains(expected), "{error:?}: {}", told.why);
        }
    }

    #[test]
    fn a_proxy_wants_a_certificate_or_refuses_the_one_that_there_is() {
        for alert in [AlertDescription::BadCertificate, AlertDescription::AccessDenied] {
            for (certified, expected) in [(false, "the gateway has none"), (true, "it refuses")] {
                let error = wrapped(rustls::Error::AlertReceived(alert));
                let error = TunnelError::ConnectFailed(Box::new(error));
                let told = of_proxy(&error, false, certified).unwrap();
                assert_eq!(told.fault, Fault::ProxyTls);
                assert!(told.why.contains(expected), "{alert:?} {certified}: {}", told.why);
            }
        }
    }

    #[test]
    fn an_alert_on_a_connection_that_works_proves_nothing_unless_it_is_about_the_client() {
        for alert in [AlertDescription::InternalError, AlertDescription::HandshakeFailure] {
            assert_eq!(tls(&wrapped(rustls::Error::AlertReceived(alert)), false, true), None);
        }
        let fault = |alert, certified| {
            let error = rustls::Error::AlertReceived(alert);
            // Over HTTP/2, only the text is left.
            let text = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
            let told = tls(&wrapped(error), false, certified);
            assert_eq!(told, tls(&text, false, certified), "{alert:?}");
            told.map(|told| told.fault)
        };
        let (wanted, refused) =
            (Some(Fault::ClientCertificateWanted), Some(Fault::ClientCertificateRefused));
        assert_eq!(fault(AlertDescription::CertificateRequired, false), wanted);
        assert_eq!(fault(AlertDescription::CertificateRequired, true), wanted);
        assert_eq!(fault(AlertDescription::UnknownCA, false), wanted);
        assert_eq!(fault(AlertDescription::UnknownCA, true), refused);
        assert_eq!(fault(AlertDescription::DecodeError, true), None);
    }
}
