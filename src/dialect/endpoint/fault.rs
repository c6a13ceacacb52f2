//! Answer → success or error (page "Errors").
//!
//! The HTTP status decides first, then the vendor's code; the body may be missing. The meaning of a
//! conflict or a missing object depends on the operation.

use std::time::Duration;

use http::StatusCode;

use super::{effects, field_path, wire::Fault};
use crate::{
    dialect::effect::has_json_or_nothing,
    error::{Effect, Error, Reason, Result, Retry, UpstreamFacts},
    text,
    upstream::{Reply, Safety, Unread, failed_status, unreadable},
};

/// How long logins are locked after three failures (page "Authentication").
const LOCK: Duration = Duration::from_secs(300);

/// The operations whose failures differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    List,
    Get,
    Create,
    Patch,
    Delete,
    AddService,
    RemoveService,
    AddLimit,
    RemoveLimit,
    Catalog,
    CatalogLimits,
    DataLimits,
}

impl Operation {
    const fn safety(self) -> Safety {
        match self {
            Self::List | Self::Get | Self::Catalog | Self::CatalogLimits | Self::DataLimits => {
                Safety::Read
            }
            Self::Create
            | Self::Patch
            | Self::Delete
            | Self::AddService
            | Self::RemoveService
            | Self::AddLimit
            | Self::RemoveLimit => Safety::Write,
        }
    }

    /// The statuses of its success. The documented and the recorded ones differ (201 or 204 for a
    /// PATCH, 200 or 204 for a PUT), so each of them counts where the write is read back. A
    /// deletion is not read back after the one answer that is documented for it.
    const fn successes(self) -> &'static [u16] {
        match self {
            Self::Delete => &[204],
            _ => &[200, 201, 204],
        }
    }

    /// The field of a violation that names none.
    const fn field(self) -> &'static str {
        match self {
            Self::AddService
            | Self::RemoveService
            | Self::AddLimit
            | Self::RemoveLimit
            | Self::Catalog
            | Self::CatalogLimits => "profile.services",
            Self::List
            | Self::Get
            | Self::DataLimits
            | Self::Create
            | Self::Patch
            | Self::Delete => "profile",
        }
    }
}

/// The content of the reply to a read.
pub(super) fn read<T>(
    operation: Operation,
    reply: &Reply,
    decode: impl FnOnce(&Reply) -> Result<T, Unread>,
) -> Result<T> {
    if !reply.status.is_success() {
        return Err(failure(operation, reply));
    }
    decode(reply).map_err(|why| unreadable(operation.safety(), reply, why))
}

/// Whether the upstream acknowledged a write as the vendor documents it.
pub(super) fn written(operation: Operation, reply: &Reply) -> Result<()> {
    if !reply.status.is_success() {
        return Err(failure(operation, reply));
    }
    effects::done(operation.successes(), reply)
        .map_err(|why| unreadable(operation.safety(), reply, why))
}

fn failure(operation: Operation, reply: &Reply) -> Error {
    let body = Fault::read(&reply.body);
    let status = reply.status;
    if status == StatusCode::UNAUTHORIZED && is_locked(&body) {
        return locked(reply, &body);
    }
    let known = match (status, body.code) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS, _) => {
            None
        }
        (status, _) if !status.is_client_error() => None,
        // A proxy stopped waiting, whatever the body says.
        (StatusCode::REQUEST_TIMEOUT, _) => None,
        (status, _) if status.as_u16() == 499 => None,
        (StatusCode::CONFLICT, code) => conflict(operation, code),
        (_, Some(1405)) => conflict(operation, Some(1405)),
        // Whether it is the profile that is missing is for the caller to find out.
        (StatusCode::NOT_FOUND, _) if operation == Operation::DataLimits => Some(NO_DATA_LIMITS),
        (StatusCode::NOT_FOUND, Some(1201 | 1401)) => Some(missing(operation, &body)),
        (_, Some(1406)) => Some(REFUSED),
        // Something has run out, at whatever point.
        (_, Some(1601)) => Some((REFUSED.0, REFUSED.1, Effect::Unconfirmed)),
        (
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY,
            Some(1000 | 1301 | 1302 | 1400..=1403),
        ) => Some(INVALID),
        // Both have been recorded without a code, and even with an empty body of type text/html. A
        // page or a text comes from something in between.
        (StatusCode::UNPROCESSABLE_ENTITY, None) if has_json_or_nothing(reply) => Some(REFUSED),
        (StatusCode::BAD_REQUEST, None) if has_json_or_nothing(reply) => Some(INVALID),
        (_, Some(_)) => Some(UNKNOWN),
        (_, None) => None,
    };
    let stated = known.map(|(.., effect)| effect);
    let effect = effects::of_failure(operation.safety(), stated, reply);
    let Some((reason, message, _)) = known else {
        return by_status(operation.safety(), reply, &body).with_effect(effect);
    };
    let mut error = error(reason, message, (reply, &body)).with_effect(effect);
    if reason == Reason::ValidationFailed && operation.safety() == Safety::Write {
        for violation in field_path::violations(&body, operation.field()) {
            error = error.with_violation(violation);
        }
    }
    error
}

/// What an answer means, and what a write with this answer may have done.
type Meaning = (Reason, &'static str, Effect);

/// A refusal that the vendor documents: nothing was done.
const fn refusal(reason: Reason, message: &'static str) -> Meaning {
    (reason, message, Effect::None)
}

const INVALID: Meaning =
    refusal(Reason::ValidationFailed, "the upstream rejected a value in the request");
const REFUSED: Meaning = refusal(
    Reason::ProcessingFailed,
    "the upstream understood the request but refused to carry it out",
);
/// An unknown code guarantees nothing.
const UNKNOWN: Meaning =
    (Reason::UpstreamFailure, "the upstream returned an unknown error code", Effect::Unconfirmed);

/// The meaning of a 409. The documented cases are those of three operations, without their codes; a
/// code that is documented means the same everywhere.
fn conflict(operation: Operation, code: Option<i64>) -> Option<Meaning> {
    let (reason, message) = match operation {
        Operation::Delete => {
            return Some(refusal(
                Reason::ProfileInUse,
                "endpoints use the profile; assign them another profile before deleting this one",
            ));
        }
        Operation::RemoveService => {
            return Some(refusal(
                Reason::ServiceHasTrafficLimits,
                "the service still has traffic limits in the profile; detach them first",
            ));
        }
        _ if code == Some(1406) => return Some(REFUSED),
        Operation::AddService => {
            return Some(refusal(
                Reason::ServiceAlreadyAttached,
                "the profile already has the service",
            ));
        }
        Operation::Create | Operation::Patch => {
            (Reason::ProfileAlreadyExists, "another profile of the account has this display name")
        }
        Operation::AddLimit => (
            Reason::TrafficLimitAlreadyAttached,
            "the service already has this traffic limit in the profile",
        ),
        _ => return code.map(|_| UNKNOWN),
    };
    Some(match code {
        Some(1405) => refusal(reason, message),
        None => (reason, message, Effect::Unconfirmed),
        Some(_) => UNKNOWN,
    })
}

const NO_DATA_LIMITS: Meaning = refusal(
    Reason::UpstreamContractViolation,
    "the upstream answered that it does not have what the gateway asked for",
);

/// The meaning of a 404 with the vendor's own body. A path may contain a profile, a service and a
/// limit.
fn missing(operation: Operation, body: &Fault) -> Meaning {
    const PROFILE: Meaning =
        refusal(Reason::ProfileNotFound, "the upstream has no profile with this id");
    const SERVICE: Meaning =
        refusal(Reason::ServiceNotAttached, "the upstream did not find the service");
    const LIMIT: Meaning =
        refusal(Reason::TrafficLimitNotFound, "the upstream did not find the traffic limit");
    let words = body.message.as_deref().unwrap_or_default();
    match (operation, field_path::subject(words).as_str()) {
        (Operation::Get | Operation::Delete, _) => PROFILE,
        (Operation::List | Operation::Catalog | Operation::DataLimits, _) => UNKNOWN,
        (Operation::CatalogLimits, _) => SERVICE,
        (_, "serviceprofile" | "profile") => PROFILE,
        (_, "service") if operation == Operation::AddService => INVALID,
        (_, "service") => SERVICE,
        (_, subject) if subject.ends_with("limit") => LIMIT,
        (Operation::RemoveService, _) => SERVICE,
        (Operation::AddLimit | Operation::RemoveLimit, _) => LIMIT,
        (Operation::Create, _) => INVALID,
        (Operation::Patch, "") | (Operation::AddService, _) => PROFILE,
        // The object that a member of the body refers to.
        (Operation::Patch, subject) if field_path::is_member(subject) => INVALID,
        (Operation::Patch, _) => PROFILE,
    }
}

/// Whether a failed read says something about that profile only, and nothing about the account.
pub(super) fn is_of_one_profile(error: &Error) -> bool {
    let answered = error.upstream().is_some_and(|facts| facts.status.is_some());
    let of_account = matches!(
        error.reason(),
        Reason::UpstreamAuthFailed | Reason::UpstreamAccountLocked | Reason::UpstreamThrottled
    );
    (answered || error.reason() == Reason::UpstreamContractViolation) && !of_account
}

/// Whether a 401 is the lockout after failed logins.
pub(super) fn is_locked(body: &Fault) -> bool {
    body.code == Some(1105) || body.errors.iter().any(|error| error.code == Some(1105))
}

/// The error for a lockout.
pub(super) fn locked(reply: &Reply, body: &Fault) -> Error {
    let message = "the upstream has locked the gateway's account for 5 minutes after failed \
                   logins; check this backend's application token";
    error(Reason::UpstreamAccountLocked, message, (reply, body))
        .with_retry(Retry::After(Some(LOCK)))
}

/// The error for a reply whose HTTP status decides, with details from its body.
pub(super) fn by_status(safety: Safety, reply: &Reply, body: &Fault) -> Error {
    let error = failed_status(safety, reply);
    if *body == Fault::default() { error } else { error.with_upstream(facts(reply, body)) }
}

pub(super) fn error(reason: Reason, message: &str, (reply, body): (&Reply, &Fault)) -> Error {
    let facts = facts(reply, body);
    let message = match (&facts.code, &facts.message) {
        (None, None) => format!("{message} (HTTP {})", reply.status.as_u16()),
        _ => facts.appended_to(message),
    };
    Error::new(reason, message).with_upstream(facts)
}

fn facts(reply: &Reply, body: &Fault) -> UpstreamFacts {
    // Set by the API gateway in front of the platform.
    let request_id = reply.headers.get("x-amzn-requestid").and_then(|id| id.to_str().ok());
    // The outer error of a validation says less than the errors that it contains.
    let words = body.errors.iter().find_map(|error| error.message.as_deref());
    let words = words.filter(|_| body.code == Some(1400)).or(body.message.as_deref());
    UpstreamFacts {
        status: Some(reply.status.as_u16()),
        code: body.code.map(|code| code.to_string()),
        message: words.and_then(text::presentable),
        request_id: request_id.and_then(|id| text::presentable(&text::cut(id, 64))),
    }
}
