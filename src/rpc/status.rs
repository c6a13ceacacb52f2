//! The only place that makes a [`tonic::Status`]: from an [`Error`], with google.rpc details.
//!
//! Sizes are bounded because details travel in a header: many peers refuse header lists over 8 KiB.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{
    error::{Blame, Error, Kind, Reason, Retry},
    pb, text,
};

/// `ErrorInfo.domain` of every status.
pub const DOMAIN: &str = pb::ERROR_DOMAIN;
/// Longest status message, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;
/// All details together, in bytes as encoded.
const MAX_DETAILS_BYTES: usize = 4096;

/// The status for an error.
#[must_use]
pub fn status(error: &Error) -> Status {
    let message = text::cut(error.message(), MAX_MESSAGE_BYTES).into_owned();
    let code = code(error.kind());
    // Violations take the most space: as many are named as fit.
    let mut shown = error.violations().len();
    loop {
        let status = Status::with_error_details(code, message.clone(), details(error, shown));
        if status.details().len() <= MAX_DETAILS_BYTES || shown == 0 {
            return status;
        }
        shown /= 2;
    }
}

/// A status with only a reason and a message.
#[must_use]
pub fn of(reason: Reason, message: impl Into<String>) -> Status {
    status(&Error::new(reason, message))
}

/// For a request whose caller left in the middle of it. The layers make it CANCELLED: with that
/// code, tonic would take it for the end of the request, and execute it.
#[must_use]
pub fn broken_off() -> Status {
    Status::new(Code::DataLoss, "")
}

fn details(error: &Error, shown: usize) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason().name(), DOMAIN, metadata(error));

    let violations = error.violations();
    if !violations.is_empty() {
        let mut fields: Vec<FieldViolation> = violations
            .iter()
            .take(shown)
            .map(|v| FieldViolation::new(v.field.clone(), text::cut(&v.description, 256)))
            .collect();
        if shown < violations.len() {
            let left = violations.len() - shown;
            fields.push(FieldViolation::new("*", format!("and {left} more violations")));
        }
        details.set_bad_request(fields);
    }
    if let Some(name) = error.resource() {
        let name = text::cut(name, 256);
        let kind = if name.contains("/profiles/") { "Profile" } else { "Backend" };
        let kind = format!("profilegateway.v1.{kind}");
        details.set_resource_info(kind, name, "", text::cut(error.message(), 256));
    }
    if error.kind() == Kind::FailedPrecondition {
        let subject = error.resource().unwrap_or_default();
        let description = text::cut(error.message(), 256);
        let kind = error.reason().name();
        details.add_precondition_failure_violation(kind, text::cut(subject, 256), description);
    }
    if let Retry::After(Some(delay)) = error.retry() {
        details.set_retry_info(Some(delay.max(Duration::from_millis(1))));
    }
    if error.kind() == Kind::ResourceExhausted && error.blame() == Blame::Upstream {
        let subject = text::cut(error.resource().unwrap_or_default(), 256);
        details.add_quota_failure_violation(subject, text::cut(error.message(), 256));
    }
    if let Some(id) = error.upstream().and_then(|facts| facts.request_id.as_deref()) {
        details.set_request_info(text::cut(id, 128), "the upstream's transaction id");
    }
    details
}

fn metadata(error: &Error) -> HashMap<String, String> {
    let own = error.metadata().iter().map(|(key, value)| (*key, value.clone()));
    let facts = error.upstream().cloned().unwrap_or_default();
    let upstream = [
        ("upstream_status", facts.status.map(|status| status.to_string())),
        ("upstream_code", facts.code),
        ("upstream_message", facts.message),
        ("upstream_request_id", facts.request_id),
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
        assert!(status.message().len() <= 1024);
        assert!(status.details().len() <= 4096, "{}", status.details().len());
        let details = status.get_error_details();
        let fields = details.bad_request().unwrap().field_violations.clone();
        assert!(!fields.is_empty() && fields.last().unwrap().field == "*");
    }
}
