//! The only place that makes a [`tonic::Status`]: from an [`Error`], with google.rpc details.
//!
//! Sizes are bounded because details travel in a header, and common proxies take 4 KiB of headers.
//! `fit` cuts, here to what no setting exceeds, and in the server to what is set.

mod call_id;
mod encoded;
mod fit;
mod kept;

use std::{collections::HashMap, sync::Arc, time::Duration};

use prost::DecodeError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation};

use self::fit::{MAX_TEXT_BYTES, Parts};
pub use self::{
    call_id::{CALL_ID_BYTES, of_call},
    encoded::{GRPC_DETAILS, GRPC_MESSAGE, GRPC_STATUS, reason},
    fit::{MAX_MESSAGE_BYTES, header_bytes},
    kept::{REFUSED_CALL, Repeated, repeats, with_details},
};
use crate::{
    call::CallId,
    error::{Blame, Error, Kind, Reason, Retry, metadata},
    pb, text,
};

/// `ErrorInfo.domain` of every status.
pub const DOMAIN: &str = pb::ERROR_DOMAIN;
/// Room that no status needs, in bytes of headers. The server allows much less.
pub const MAX_STATUS_BYTES: usize = 16 * 1024;
/// All violations together, in bytes: there may be thousands, and most will not be shown.
const MAX_VIOLATIONS_BYTES: usize = 4 * 1024;

/// The status for an error.
#[must_use]
pub fn status(error: &Error) -> Status {
    kept::status(error, made)
}

/// The status of a refusal that may come again and again, for the layers, which write all but the
/// code: they have it as it is sent.
#[must_use]
pub fn bare(error: &Error) -> Status {
    Status::new(code(error.kind()), "")
}

/// The refusal of an error that may come again and again; see [`repeats`].
#[must_use]
pub fn repeated(error: &Error) -> Option<Arc<Repeated>> {
    kept::repeated(error, made)
}

fn made(error: &Error) -> Status {
    let parts = parts(error);
    let omitted = error.violations().len() - parts.violations.len();
    parts.whole(omitted)
}

/// As much of a status as fits into headers of `room` bytes, as [`header_bytes`] counts them.
#[must_use]
pub fn fitted(status: &Status, room: usize) -> Status {
    let (parts, omitted) = Parts::of(status);
    parts.fit(room, omitted)
}

/// The status with the id of its call in its `ErrorInfo`, and whether it has such a detail.
#[must_use]
pub fn with_call(mut status: Status, call: CallId) -> (Status, bool) {
    let Some(details) = call_id::in_details(status.details(), call) else { return (status, false) };
    let metadata = std::mem::take(status.metadata_mut());
    let (code, message) = (status.code(), status.message());
    (Status::with_details_and_metadata(code, message, details.into(), metadata), true)
}

/// A status with only a reason and a message.
#[must_use]
pub fn of(reason: Reason, message: impl Into<String>) -> Status {
    status(&Error::new(reason, message))
}

/// The status for a message that cannot be decoded. The layers word it; see
/// `server::layers::normalize`.
pub fn malformed(error: &DecodeError) -> Status {
    Status::internal(error.to_string())
}

/// For a request whose caller left in the middle of it. The layers make it CANCELLED: with that
/// code, tonic would take it for the end of the request, and execute it.
#[must_use]
pub fn broken_off() -> Status {
    Status::new(Code::DataLoss, "")
}

fn parts(error: &Error) -> Parts {
    let mut used = 0;
    let violations = error.violations().iter().take_while(|one| {
        used += one.field.len().min(MAX_TEXT_BYTES) + one.description.len().min(MAX_TEXT_BYTES);
        used <= MAX_VIOLATIONS_BYTES
    });
    Parts {
        code: code(error.kind()),
        message: error.message().to_owned(),
        details: details(error),
        violations: violations
            .map(|one| FieldViolation::new(&*one.field, &*one.description))
            .collect(),
    }
}

/// All details but the violations.
fn details(error: &Error) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason().name(), DOMAIN, metadata_of(error));

    if let Some(name) = error.resource() {
        let name = text::cut(name, MAX_TEXT_BYTES);
        let kind = if name.contains("/profiles/") { "Profile" } else { "Backend" };
        let kind = format!("profilegateway.v1.{kind}");
        // Each byte costs: a refusal does not say twice what it says.
        let description = if repeats(error) { "" } else { error.message() };
        details.set_resource_info(kind, name, "", text::cut(description, MAX_TEXT_BYTES));
    }
    if error.kind() == Kind::FailedPrecondition {
        let subject = error.resource().unwrap_or_default();
        let description = text::cut(error.message(), MAX_TEXT_BYTES);
        let kind = error.reason().name();
        details.add_precondition_failure_violation(
            kind,
            text::cut(subject, MAX_TEXT_BYTES),
            description,
        );
    }
    if let Retry::After(Some(delay)) = error.retry() {
        details.set_retry_info(Some(delay.max(Duration::from_millis(1))));
    }
    if error.kind() == Kind::ResourceExhausted && error.blame() == Blame::Upstream {
        let subject = text::cut(error.resource().unwrap_or_default(), MAX_TEXT_BYTES);
        details.add_quota_failure_violation(subject, text::cut(error.message(), MAX_TEXT_BYTES));
    }
    if let Some(id) = error.upstream().and_then(|facts| facts.request_id.as_deref()) {
        details.set_request_info(text::cut(id, 128), "the upstream's transaction id");
    }
    details
}

fn metadata_of(error: &Error) -> HashMap<String, String> {
    let own = error.metadata().iter().map(|(key, value)| (*key, value.clone()));
    let facts = error.upstream().cloned().unwrap_or_default();
    let upstream = [
        (metadata::UPSTREAM_STATUS, facts.status.map(|status| status.to_string())),
        (metadata::UPSTREAM_CODE, facts.code),
        (metadata::UPSTREAM_MESSAGE, facts.message),
        (metadata::UPSTREAM_REQUEST_ID, facts.request_id),
    ];
    own.chain(upstream.into_iter().filter_map(|(key, value)| Some((key, value?))))
        .map(|(key, value)| {
            let value = text::cut(&value, text::UPSTREAM_MESSAGE_BYTES).into_owned();
            (key.to_owned(), value)
        })
        .collect()
}

/// The gRPC code of a kind.
#[must_use]
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::Cancelled => Code::Cancelled,
        Kind::Unknown => Code::Unknown,
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::Aborted => Code::Aborted,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
        Kind::Unavailable => Code::Unavailable,
        Kind::Unauthenticated => Code::Unauthenticated,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::error::{UpstreamFacts, violation::Violation};

    #[test]
    fn every_status_names_its_reason() {
        let status = of(Reason::Overloaded, "too much at once");
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
        assert_eq!(details.error_info().unwrap().domain, "profile-gateway");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    }

    #[test]
    fn sizes_are_bounded() {
        let long = "é".repeat(5_000);
        let violations = (0..500)
            .map(|n| Violation {
                field: format!("profile.field_{n}"),
                description: long.clone(),
                reason: Reason::ValidationFailed,
            })
            .collect();
        let error = Error::invalid(violations)
            .with_resource(long.clone())
            .with_metadata("backend", long.clone())
            .with_upstream(UpstreamFacts {
                status: Some(200),
                code: Some(long.clone()),
                message: Some(long.clone()),
                request_id: Some(long),
            });
        let status = status(&error);
        assert!(status.message().len() <= 512);
        assert!(status.details().len() <= 12 * 1024, "{}", status.details().len());
        let details = status.get_error_details();
        let fields = details.bad_request().unwrap().field_violations.clone();
        assert!(!fields.is_empty() && fields.last().unwrap().field == "*");
    }
}
