//! The failure of a request that got no reply: whether it was processed, and why not.

use std::time::Duration;

use super::{
    cause::{Cause, Failure},
    connection::{
        ConnectionFault, Progress, Unconnected, Unprocessed, Unresolved, causes, chain, unprocessed,
    },
    message::Request,
};
use crate::error::{Effect, Error, Reason, Retry};

/// How far the request got, and what is known of the upstream's connections.
#[derive(Debug)]
pub(super) struct At {
    pub(super) progress: Progress,
    /// Whether the upstream has asked for a client certificate, and never answered.
    pub(super) wants_certificate: bool,
    /// Whether the gateway has one.
    pub(super) is_certified: bool,
    pub(super) speaks_tls: bool,
    pub(super) connect_timeout: Duration,
}

/// No reply came. Only a failed connect and what [`unprocessed`] knows certainly sent nothing.
pub(super) fn unsent(request: &Request, error: &reqwest::Error, at: &At) -> Failure {
    let operation = request.operation;
    let unknown = request.safety.effect(Effect::Unknown);
    let not_sent = |what| Failure::new(Cause::NotSent, unavailable(what, Effect::None));
    let failure = match unprocessed(error, at.progress, at.is_certified) {
        Some(Unprocessed::Connection(why)) => unconnectable(request, at.read(why), Effect::None),
        Some(Unprocessed::Untaken) if at.wants_certificate => {
            unconnectable(request, Unconnected::client_certificate(at.is_certified), Effect::None)
        }
        Some(Unprocessed::Stream) => {
            not_sent(format!("the upstream refused to process {operation}"))
        }
        Some(Unprocessed::Untaken) => {
            not_sent(format!("the upstream closed the connection before {operation}"))
        }
        None if error.is_connect() => unreached(request, error, at),
        None if at.wants_certificate => {
            unconnectable(request, Unconnected::client_certificate(at.is_certified), unknown)
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

impl At {
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

/// There is no connection, and there will be none until a person changes something.
fn unconnectable(
    request: &Request,
    Unconnected { fault, why }: Unconnected,
    effect: Effect,
) -> Failure {
    let what = format!("the upstream could not be reached for {}: {why}", request.operation);
    let error = unavailable(what, effect).with_retry(Retry::No);
    Failure::new(Cause::Unconnectable, error).of_connection(fault)
}

/// There is no connection this time.
fn unreached(request: &Request, error: &reqwest::Error, at: &At) -> Failure {
    let (fault, why) = if causes(error).any(|cause| cause.is::<Unresolved>()) {
        let why = ": its name does not resolve; check base_url".to_owned();
        (ConnectionFault::NameNotResolved, why)
    } else if error.is_timeout() {
        let limit = humantime::format_duration(at.connect_timeout);
        (ConnectionFault::ConnectTimeout, format!(" within {limit} (`connect_timeout`)"))
    } else {
        (ConnectionFault::Unreachable, String::new())
    };
    let what = format!("the upstream could not be reached for {}{why}", request.operation);
    Failure::new(Cause::NotSent, unavailable(what, Effect::None)).of_connection(fault)
}

/// Whether something came that is not the head of an HTTP response. A head that is cut off counts
/// as a lost connection.
fn is_malformed(error: &reqwest::Error) -> bool {
    causes(error)
        .any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_parse()))
}

fn malformed(request: &Request, at: &At, unknown: Effect) -> Failure {
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
