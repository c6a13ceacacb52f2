//! Answer → success or error.
//!
//! The vendor's table "HTTP response codes" defines the HTTP statuses, the same on every page: 412
//! means failed validation and not a failed precondition, 422 means that it failed later, 503 means
//! that it was not carried out.

use super::{effects, members::by_key, wire::Fault};
use crate::{
    error::{Effect, Error, Reason, Result, UpstreamFacts, violation::Violation},
    text,
    upstream::{Reply, Safety, failed_status},
};

/// The operations whose replies differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    List,
    Get,
    Create,
    Update {
        /// Whether the name changes.
        renames: bool,
    },
    Delete,
}

impl Operation {
    pub(super) const fn safety(self) -> Safety {
        match self {
            Self::List | Self::Get => Safety::Read,
            Self::Create | Self::Update { .. } | Self::Delete => Safety::Write,
        }
    }

    /// The documented statuses and two undocumented ones, which the vendor's other operations use:
    /// 200 for a create with a body and 204 for an update without.
    const fn succeeds_with(self, status: u16) -> bool {
        match self {
            Self::List | Self::Get => status == 200,
            Self::Create => matches!(status, 200 | 201 | 204),
            Self::Update { .. } => matches!(status, 200 | 204),
            // It is not read back, so that only the documented one counts.
            Self::Delete => status == 204,
        }
    }

    /// The field to blame if the upstream names none that we know.
    const fn subject(self) -> &'static str {
        match self {
            Self::List => "parent",
            Self::Get | Self::Delete => "name",
            Self::Create | Self::Update { .. } => "profile",
        }
    }

    const fn permission(self) -> &'static str {
        match self {
            Self::List | Self::Get => "SPCM_PROVISION_PROFILE_READ_PERMISSION",
            Self::Create => "SPCM_PROVISION_PROFILE_CREATE_PERMISSION",
            Self::Update { .. } => "SPCM_PROVISION_PROFILE_UPDATE_PERMISSION",
            Self::Delete => "SPCM_PROVISION_PROFILE_DELETE_PERMISSION",
        }
    }
}

/// Whether the status is one of the operation's successes; the body has not been read yet.
pub(super) fn check(operation: Operation, reply: &Reply) -> Result<()> {
    if operation.succeeds_with(reply.status.as_u16()) {
        return Ok(());
    }
    if reply.status.is_success() {
        return Err(other_success(operation, reply));
    }
    let fault = Fault::read(reply);
    let facts = facts(&fault, reply);
    let names_a_profile = !matches!(operation, Operation::List | Operation::Create);
    let effect = effects::effect(operation.safety(), names_a_profile, reply);
    let error = failure(operation, &fault, reply).with_effect(effect);
    // The error from the status alone may contain a plain-text body.
    let silent = facts.message.is_none() && facts.code.is_none();
    Err(if silent && error.upstream().is_some() { error } else { error.with_upstream(facts) })
}

/// The error for a 404 about a profile that a read does not miss: it is not the vendor's.
pub(super) fn not_missing(reply: &Reply) -> Error {
    let message = "the upstream answered HTTP 404 for a profile that it does not miss; check the \
                   base URL and any proxy";
    Error::new(Reason::UpstreamContractViolation, message)
        .with_effect(Effect::Unconfirmed)
        .with_upstream(facts(&Fault::read(reply), reply))
}

fn failure(operation: Operation, fault: &Fault, reply: &Reply) -> Error {
    use Operation::{Create, Delete, Get, List, Update};
    let safety = operation.safety();
    let error =
        |reason, message: &str| Error::new(reason, facts(fault, reply).appended_to(message));
    match (reply.status.as_u16(), operation) {
        (400, _) => refused("the upstream rejected the request as malformed", operation, fault),
        (412, _) => refused("the upstream rejected the values", operation, fault),
        (403, _) => {
            let message = format!(
                "the upstream answered HTTP 403: the gateway's account is not allowed to do \
                 this; it needs {}",
                operation.permission()
            );
            error(Reason::UpstreamPermissionDenied, &message)
        }
        // The schema of a 404 is not documented, so any body may be the upstream's own.
        (404, Get | Update { .. } | Delete) => {
            error(Reason::ProfileNotFound, "the upstream has no profile with this id")
        }
        (404, List | Create) => error(
            Reason::UpstreamContractViolation,
            "the upstream answered HTTP 404 for its collection of profiles; check the base URL \
             and any proxy",
        ),
        (409, Create | Update { renames: true }) => error(
            Reason::ProfileAlreadyExists,
            "another profile of the tenant has this display name",
        ),
        (409, Delete) => error(Reason::ProfileInUse, "the upstream still uses the profile"),
        // Nothing says that this is a race, so it is not reported as one: a retry would not help.
        (409, Update { renames: false }) => error(
            Reason::ProcessingFailed,
            "the change conflicts with another object in the upstream",
        ),
        (422, _) => error(Reason::ProcessingFailed, "the upstream could not process the request"),
        _ => failed_status(safety, reply),
    }
}

/// A success status that this operation does not have. The vendor's table has 207 without a schema
/// ("not applicable to all operations"): a write may be partly done, so it is not a success.
fn other_success(operation: Operation, reply: &Reply) -> Error {
    let safety = operation.safety();
    let head = reply.body.get(..reply.body.len().min(1024)).unwrap_or_default();
    let facts = UpstreamFacts {
        status: Some(reply.status.as_u16()),
        message: text::presentable(&String::from_utf8_lossy(head)),
        ..UpstreamFacts::default()
    };
    let status = reply.status.as_u16();
    let error = match (status, safety) {
        (207, Safety::Write) => Error::new(
            Reason::WriteOutcomeUnknown,
            "the upstream answered HTTP 207, which does not say whether the write succeeded",
        ),
        _ => Error::new(
            Reason::UpstreamContractViolation,
            format!("the upstream answered HTTP {status}, which this operation does not define"),
        ),
    };
    error.with_effect(safety.effect(Effect::Unknown)).with_upstream(facts)
}

/// The error for a request that the upstream rejects, with the fields that it names.
fn refused(message: &str, operation: Operation, fault: &Fault) -> Error {
    let mut violations: Vec<Violation> = Vec::new();
    for (field, description) in &fault.errors {
        let violation = violation(operation, field.as_deref(), description.as_deref());
        if !violations.contains(&violation) {
            violations.push(violation);
        }
    }
    if violations.is_empty() {
        violations.push(violation(operation, None, fault.message.as_deref()));
    }
    let shown: Vec<String> = violations.iter().take(3).map(ToString::to_string).collect();
    let error = Error::new(Reason::ValidationFailed, format!("{message}: {}", shown.join("; ")));
    violations.into_iter().fold(error, Error::with_violation)
}

/// Translates the upstream's complaint about one of its fields to our field.
fn violation(operation: Operation, field: Option<&str>, description: Option<&str>) -> Violation {
    let description = description.and_then(text::presentable);
    let description = description.unwrap_or_else(|| "is not accepted by the upstream".to_owned());
    let ours = field.and_then(by_key).filter(|_| operation.subject() == "profile");
    let (field, description) = match (ours, field.and_then(text::presentable)) {
        (Some(member), _) => (format!("profile.{}", member.path), description),
        (None, Some(theirs)) => {
            let theirs = text::cut(&theirs, 64);
            (operation.subject().to_owned(), format!("{theirs}: {description}"))
        }
        (None, None) => (operation.subject().to_owned(), description),
    };
    Violation { field, description, reason: Reason::ValidationFailed }
}

fn code(fault: &Fault) -> Option<String> {
    text::presentable(&text::cut(fault.code.as_deref()?, 64))
}

fn facts(fault: &Fault, reply: &Reply) -> UpstreamFacts {
    UpstreamFacts {
        status: Some(reply.status.as_u16()),
        code: code(fault),
        message: fault.message.as_deref().and_then(text::presentable),
        request_id: None,
    }
}
