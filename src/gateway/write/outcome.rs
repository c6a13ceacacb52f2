//! Results and errors of writes that neither clearly succeeded nor clearly failed.

use std::time::Duration;

use crate::{
    error::{
        Effect, Error, Kind, OUTCOME_UNKNOWN, Reason, Result,
        metadata::{CANDIDATES, PROFILE_ID, STEPS_UNDONE},
        violation::Violation,
    },
    pb::Profile,
    text,
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
        "the write was sent and got no clear answer, and the profile now matches neither the state \
         before it nor the state it asked for: either it was only partly applied, or another \
         client has changed the profile since; nothing was sent again; read the profile, and use a \
         new request_id, if any, to write it again",
    )
    .with_effect(Effect::Unknown)
}

/// The error for a change that the upstream says has failed, and after which the profile is neither
/// as before nor as it was to be.
pub(crate) fn half_done(failure: &Error) -> Error {
    let message = format!(
        "the upstream says that the write failed, but the profile matches neither the state before \
         it nor the state it asked for: either it was only partly applied, or another client has \
         changed the profile since; read the profile before you write it again: {}",
        failure.message()
    );
    unknown(failure).with_message(message)
}

/// The error for a partly created profile that the gateway itself may still remove.
pub(crate) fn may_be_removed() -> Error {
    Error::new(
        Reason::UpstreamUnavailable,
        "the creation left the profile partly created; its removal got no clear answer and may \
         still take effect within a minute; nothing was sent again",
    )
    .with_effect(Effect::Unknown)
}

/// The error for a partly created profile that the gateway itself completes, but not yet.
pub(crate) fn not_yet_completed() -> Error {
    Error::new(
        Reason::WriteOutcomeUnknown,
        "the profile was created, but lacks some of what was requested; it is completed once \
         nothing of the call that created it can be under way any more",
    )
    .with_effect(Effect::Unknown)
}

/// The error for a partly created profile that the gateway does not touch by itself.
pub(crate) fn left_incomplete() -> Error {
    Error::new(
        Reason::PartiallyApplied,
        "the profile was created, but lacks some of what was requested; the gateway leaves it as \
         it is, because its caller was told, because someone may have changed it since, or because \
         completing it has failed: repeat the call if it has a request_id, or update or delete the \
         profile",
    )
}

/// The error for a profile that was created, but may lack some of what was requested.
pub(crate) fn left_behind(id: &str, failure: &Error) -> Error {
    let message = format!(
        "the profile was created, but may be incomplete; update or delete it: {}",
        failure.message()
    );
    let error = Error::new(Reason::PartiallyApplied, message).with_metadata(PROFILE_ID, id);
    match failure.upstream() {
        Some(facts) => error.with_upstream(facts.clone()),
        None => error,
    }
}

/// The error for a creation after which several profiles could be the new one, or one that only
/// resembles it.
pub(crate) fn ambiguous(candidates: &[String]) -> Error {
    let all = candidates.join(", ");
    let message = format!(
        "{} not there before and may be the new one, or another client's: {}; nothing else was \
         written; compare before you create another, with a new request_id if you use one",
        if candidates.len() == 1 { "a profile was" } else { "several profiles were" },
        text::cut(&all, 160)
    );
    let error = Error::new(Reason::WriteOutcomeUnknown, message)
        .with_effect(Effect::Unknown)
        .with_metadata(CANDIDATES, all.as_str());
    match candidates {
        [only] => error.with_resource(only),
        _ => error,
    }
}

/// The error for a creation that the upstream acknowledged without identifying the new profile.
pub(crate) fn unidentified() -> Error {
    Error::new(
        Reason::UpstreamContractViolation,
        "the upstream reported success, but its answer does not identify the new profile",
    )
    .with_effect(Effect::Unknown)
}

/// The error for a write that the upstream acknowledged, but does not show after the time that its
/// reads may lag behind. `fields` have other values than those of the write; without any, there is
/// no such profile.
pub(crate) fn not_applied(fields: &[&str], settle_time: Duration) -> Error {
    let mut named: Vec<String> = fields.iter().map(|field| format!("profile.{field}")).collect();
    let what = match named.is_empty() {
        true => "no such profile".to_owned(),
        false => format!("other values of {}", named.join(", ")),
    };
    if named.is_empty() {
        named.push("profile".to_owned());
    }
    let error = only_acknowledged(&what, settle_time);
    named.into_iter().fold(error, |error, field| {
        error.with_violation(Violation {
            field,
            description: "the upstream did not take this value".to_owned(),
            reason: Reason::WriteNotApplied,
        })
    })
}

/// The same for a deletion: the profile is still there.
pub(crate) fn still_there(settle_time: Duration) -> Error {
    only_acknowledged("the profile", settle_time).with_violation(Violation {
        field: "name".to_owned(),
        description: "the upstream did not delete this profile".to_owned(),
        reason: Reason::WriteNotApplied,
    })
}

fn only_acknowledged(shown: &str, settle_time: Duration) -> Error {
    let message = format!(
        "the upstream acknowledged the write, but {} later its reads still show {shown}",
        humantime::format_duration(settle_time)
    );
    // A retry with the same request_id has to look again: it may still take effect.
    Error::new(Reason::WriteNotApplied, message).with_effect(Effect::Unconfirmed)
}

/// Whether a write of several steps failed, and the upstream acknowledged that they are undone.
pub(crate) fn claims_undone(failure: &Error) -> bool {
    failure.reason() != Reason::PartiallyApplied && failure.metadatum(STEPS_UNDONE).is_some()
}

/// The error for such a write if the upstream does not show that its steps are undone. `left`
/// describes the state of the profile.
pub(crate) fn not_undone(id: &str, left: &str, failure: &Error) -> Error {
    let message = format!(
        "the profile is left {left}: the upstream acknowledged undoing the write, but does not \
         show that; read it and update or delete it: {}",
        failure.message()
    );
    let mut error = Error::new(Reason::PartiallyApplied, message).with_metadata(PROFILE_ID, id);
    for (key, value) in failure.metadata().iter().filter(|(key, _)| *key != STEPS_UNDONE) {
        error = error.with_metadata(key, value.clone());
    }
    match failure.upstream() {
        Some(facts) => error.with_upstream(facts.clone()),
        None => error,
    }
}

/// The error for an acknowledged write that does not show before the deadline.
pub(crate) fn not_shown() -> Error {
    unknown(&Error::new(
        Reason::WriteOutcomeUnknown,
        "the upstream acknowledged it, but did not show it before the deadline",
    ))
}

/// The error for a creation whose answer names a profile that may have been there before: the
/// account may not list profiles.
pub(crate) fn unproven(id: &str) -> Error {
    let message = format!(
        "the upstream acknowledged the creation with id {id}, but this account may not list \
         profiles, so nothing proves that this profile is the new one; nothing was attached to it; \
         read it, and attach its services if it is the new one"
    );
    Error::new(Reason::PartiallyApplied, message).with_metadata(PROFILE_ID, id)
}

/// The error for an earlier attempt whose effect is not visible.
pub(crate) fn unresolved() -> Error {
    Error::new(
        Reason::WriteOutcomeUnknown,
        "the write was sent and got no clear answer, and its effect is not visible yet; nothing \
         was sent again",
    )
    .with_effect(Effect::Unknown)
}
