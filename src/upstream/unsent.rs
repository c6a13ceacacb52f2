//! The failure of a request that got no reply: whether it was processed, and why not.

use std::time::Duration;

use super::{
    cause::{Cause, Failure},
    connection::{
        ConnectionFault, Progress, Proxy, Unconnected, Unpermitted, Unprocessed, Unresolved,
        causes, chain, of_proxy, unprocessed,
    },
    message::Request,
};
use crate::error::{Effect, Error, Reason, Retry};

/// How far the request got, and what is known of the upstream's connections.
pub(super) struct At<'p> {
    pub(super) progress: Progress,
    /// Whether the upstream has asked for a client certificate, and never answered.
    pub(super) wants_certificate: bool,
    /// Whether the gateway has one.
    pub(super) is_certified: bool,
    pub(super) speaks_tls: bool,
    /// The proxy in between, if there is one.
    pub(super) proxy: Option<&'p Proxy>,
    pub(super) connect_timeout: Duration,
}

/// No reply came. Only a failed connect and what [`unprocessed`] knows certainly sent nothing.
pub(super) fn unsent(request: &Request, error: &reqwest::Error, at: &At<'_>) -> Failure {
    if let Some(Unpermitted(why)) = causes(error).find_map(|cause| cause.downcast_ref()) {
        return Failure::local(why.clone());
    }
    let operation = request.operation;
    let unknown = request.safety.effect(Effect::Unknown);
    let not_sent = |what| Failure::new(Cause::NotSent, unavailable(what, Effect::None));
    if let Some(proxy) = at.proxy
        && let Some(why) = of_proxy(error, proxy.knows_gateway(), at.is_certified)
    {
        let failure = unconnected(request, why, Effect::None);
        return Failure { error: failure.error.with_internal(chain(error)), ..failure };
    }
    let failure = match unprocessed(error, at.progress, at.is_certified) {
        Some(Unprocessed::Connection(why)) => unconnected(request, at.read(why), Effect::None),
        Some(Unprocessed::Untaken) if at.wants_certificate => {
            unconnected(request, Unconnected::client_certificate(at.is_certified), Effect::None)
        }
        Some(Unprocessed::Stream) => {
            not_sent(format!("the upstream refused to process {operation}"))
        }
        Some(Unprocessed::Untaken) => {
            not_sent(format!("the upstream closed the connection before {operation}"))
        }
        None if error.is_connect() => unreached(request, error, at),
        None if at.wants_certificate => {
            unconnected(request, Unconnected::client_certificate(at.is_certified), unknown)
        }
        None if error.is_builder() => {
            let what = "the upstream request could not be built";
            Failure::new(Cause::Local, Error::new(Reason::GatewayInternal, what))
        }
        None if is_malformed(error) => malformed(request, at, unknown),
        None => {
            let what = format!("the upstream closed the connection without answering {operation}");
            Failure::new(Cause::Lost, unavailable(what, unknown))
        }
    };
    Failure { error: failure.error.with_internal(chain(error)), ..failure }
}

impl At<'_> {
    /// An upstream that has asked for a client certificate often says no more than that the
    /// handshake failed.
    fn read(&self, why: Unconnected) -> Unconnected {
        match why.fault {
            ConnectionFault::TlsHandshake if self.wants_certificate => {
                Unconnected::client_certificate(self.is_certified)
            }
            _ => why,
        }
    }
}

fn unavailable(what: String, effect: Effect) -> Error {
    Error::new(Reason::UpstreamUnavailable, what).with_effect(effect)
}

/// The proxy does not know the gateway, or wants to know it.
pub(super) fn refused_by(proxy: &Proxy, request: &Request) -> Failure {
    let why = Unconnected::proxy_credentials(proxy.knows_gateway());
    unconnected(request, why, Effect::None)
}

/// There is no connection for a reason that is known.
fn unconnected(
    request: &Request,
    Unconnected { fault, why }: Unconnected,
    effect: Effect,
) -> Failure {
    let what = format!("the upstream could not be reached for {}: {why}", request.operation);
    without_connection(fault, unavailable(what, effect))
}

fn without_connection(fault: ConnectionFault, error: Error) -> Failure {
    let failure = match fault.may_pass() {
        true => Failure::new(Cause::NotSent, error),
        false => Failure::new(Cause::Unconnectable, error.with_retry(Retry::No)),
    };
    failure.of_connection(fault)
}

/// There is no connection this time.
fn unreached(request: &Request, error: &reqwest::Error, at: &At<'_>) -> Failure {
    // Without TLS, the proxy is what the request itself is sent to.
    let is_proxy = at.proxy.is_some() && !at.speaks_tls;
    let what = if is_proxy { "the proxy of this backend" } else { "the upstream" };
    let through = if at.proxy.is_some() && at.speaks_tls { " through its proxy" } else { "" };
    let unresolved = causes(error).any(|cause| cause.is::<Unresolved>());
    let (fault, why) = if unresolved && !is_proxy {
        let why = ": its name does not resolve; check base_url".to_owned();
        (ConnectionFault::NameNotResolved, why)
    } else if error.is_timeout() {
        let limit = humantime::format_duration(at.connect_timeout);
        (ConnectionFault::ConnectTimeout, format!(" within {limit} (`connect_timeout`)"))
    } else if is_proxy {
        (ConnectionFault::ProxyUnreachable, "; check `proxy`".to_owned())
    } else {
        (ConnectionFault::Unreachable, String::new())
    };
    let what = format!("{what} could not be reached{through} for {}{why}", request.operation);
    without_connection(fault, unavailable(what, Effect::None))
}

/// Whether something came that is not the head of an HTTP response. A head that is cut off counts
/// as a lost connection.
fn is_malformed(error: &reqwest::Error) -> bool {
    causes(error)
        .any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_parse()))
}

fn malformed(request: &Request, at: &At<'_>, unknown: Effect) -> Failure {
    let hint = match at.speaks_tls {
        true => "",
        false => "; if it speaks TLS, base_url has to begin with https:",
    };
    let what = format!(
        "the upstream's answer to {} begins with a head that is not HTTP{hint}",
        request.operation
    );
    let failed = Error::new(Reason::UpstreamContractViolation, what).with_effect(unknown);
    Failure::new(Cause::Malformed, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_that_fails_after_a_certificate_was_asked_for_fails_for_that() {
        for (wants_certificate, is_certified, expected) in [
            (false, false, ConnectionFault::TlsHandshake),
            (false, true, ConnectionFault::TlsHandshake),
            (true, false, ConnectionFault::ClientCertificateWanted),
            (true, true, ConnectionFault::ClientCertificateRefused),
        ] {
            let at = At {
                progress: Progress::Connecting,
                wants_certificate,
                is_certified,
                speaks_tls: true,
                proxy: None,
                connect_timeout: Duration::ZERO,
            };
            let why = |fault| Unconnected { fault, why: String::new() };
            assert_eq!(at.read(why(ConnectionFault::TlsHandshake)).fault, expected);
            let other = why(ConnectionFault::UnknownIssuer);
            assert_eq!(at.read(other).fault, ConnectionFault::UnknownIssuer);
        }
    }
}
