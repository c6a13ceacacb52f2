//! Results and errors of writes that neither clearly succeeded nor clearly failed.

use crate::{
    error::{Effect, Error, Kind, OUTCOME_UNKNOWN, Reason, Result},
    pb::Profile,
};

/// Whether a write that has ended for the gateway may still take effect.
pub(crate) fn may_yet_happen<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| {
        // If a write was only partly applied, the step that failed may have got no answer.
        error.effect() != Effect::None || error.reason() == Reason::PartiallyApplied
    })
}

/// The requested profile, in place of one that could not be read back: the write itself is done. It
/// has no etag, because the upstream may have added fields.
pub(crate) fn unread(requested: Profile, error: &Error) -> Profile {
    tracing::warn!(
        target: "gateway", name = %requested.name, %error,
        "could not read back a write"
    );
    Profile { etag: String::new(), ..requested }
}

/// The error for a write whose outcome could not be determined.
pub(crate) fn unknown(failure: &Error) -> Error {
    let message = format!("{OUTCOME_UNKNOWN}: {}", failure.message());
    let kind = match failure.kind() {
        Kind::DeadlineExceeded => Kind::DeadlineExceeded,
        _ => Kind::Unknown,
    };
    let mut error = Error::new(Reason::WriteOutcomeUnknown, message)
        .with_kind(kind)
        .with_effect(Effect::Unknown);
    if let Some(facts) = failure.upstream() {
        error = error.with_upstream(facts.clone());
    }
    for (key, value) in failure.metadata() {
        error = error.with_metadata(key, value.clone());
    }
    match failure.internal() {
        Some(detail) => error.with_internal(detail),
        None => error,
    }
}

/// The error for a profile that matches neither its state before an earlier attempt nor the state
/// that the attempt asked for: the attempt was partly applied, or another client has written since.
pub(crate) fn conflicting() -> Error {
    Error::new(
        Reason::WriteOutcomeUnknown,
        "an earlier call with this request_id got no clear answer, and the profile now matches \
         neither the state before that call nor the state it asked for: either that call was only \
         partly applied, or another client has changed the profile since; this call wrote nothing; \
         read the profile, and use a new request_id to write it again",
    )
    .with_effect(Effect::Unknown)
}

/// The error for a partly created profile that the gateway itself may still remove.
pub(crate) fn may_be_removed() -> Error {
    Error::new(
        Reason::UpstreamUnavailable,
        "an earlier call with this request_id left the profile partly created; its removal got no \
         clear answer and may still take effect within a minute; this call wrote nothing; retry it \
         with the same request_id",
    )
    .with_effect(Effect::Unknown)
}

/// The error for a creation after which several profiles could be the new one, or one that only
/// resembles it.
pub(crate) fn ambiguous() -> Error {
    Error::new(
        Reason::WriteOutcomeUnknown,
        "a profile that was not there before resembles the one to create, but may be another \
         client's; nothing else was written; compare the profiles of this name, and use a new \
         request_id to create another",
    )
    .with_effect(Effect::Unknown)
}

/// The error for a creation that the upstream acknowledged without identifying the new profile.
pub(crate) fn unidentified() -> Error {
    Error::new(
        Reason::UpstreamContractViolation,
        "the upstream reported success, but its answer does not identify the new profile",
    )
    .with_effect(Effect::Unknown)
}

/// The error for an earlier attempt whose effect is not visible.
pub(crate) fn unresolved() -> Error {
    Error::new(
        Reason::WriteOutcomeUnknown,
        "an earlier call with this request_id got no clear answer, and its effect is not visible \
         yet; this call wrote nothing; retry it with the same request_id",
    )
    .with_effect(Effect::Unknown)
}
