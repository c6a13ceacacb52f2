//! What the log says at `debug` of each request to an upstream, and of what is decided about it. No
//! texts of upstreams, and no paths, which may have display names in them.

use std::time::Duration;

use super::{
    cause::Failure,
    connection::ConnectionFault,
    message::{Reply, Request},
};
use crate::error::Error;

/// One request was answered, or not.
pub(super) fn exchange(
    backend: &str,
    request: &Request,
    result: &Result<Reply, Failure>,
    took: Duration,
) {
    let (status, cause, fault) = match result {
        Ok(reply) => (Some(reply.status.as_u16()), None, None),
        Err(failure) => (None, Some(failure.cause), failure.fault),
    };
    tracing::debug!(
        target: "upstream", backend, operation = request.operation, method = %request.method,
        profile = request.profile.as_deref(), status, cause = cause.map(tracing::field::debug),
        connection_fault = fault.map(ConnectionFault::name),
        took_ms = took.as_secs_f64() * 1000.0, "a request to the upstream"
    );
}

/// A request is sent again.
pub(super) fn retry(backend: &str, request: &Request, attempts: u32, pause: Duration) {
    tracing::debug!(
        target: "upstream", backend, operation = request.operation, attempts,
        pause_ms = pause.as_secs_f64() * 1000.0, "the request is sent again after a pause"
    );
}

/// A request was refused by the gateway's own bounds, or the vendor's.
pub(super) fn refusal(backend: &str, error: &Error) {
    tracing::debug!(
        target: "upstream", backend, reason = error.facts().name(),
        "nothing is sent: a bound or a pause refuses it"
    );
}
