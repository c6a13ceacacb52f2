//! Answer → success or error.
//!
//! Only the inner `resultParam.resultCode` decides: failures have HTTP status 200 too, and the
//! outer code is "0" in several documented failures (1326, 1330, 10085).

use memchr::memchr2_iter;

use super::{effects, wire::Envelope};
use crate::{
    error::{Effect, Error, Reason, Result, UpstreamFacts, metadata, violation::Violation},
    text,
    upstream::{Reply, Safety, failed_status, unreadable},
};

/// The operations whose codes differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    Create,
    Modify,
    Delete,
}

/// A reply that is not a failure.
#[derive(Debug)]
pub(super) enum Answer<'r> {
    Success(Envelope<'r>),
    /// 1359: an empty list, or the profile does not exist.
    NoData,
}

impl Operation {
    pub(super) const fn success(self) -> &'static str {
        match self {
            Self::Create => "1323",
            Self::Modify => "1325",
            Self::Delete => "1329",
            Self::Get => "1331",
        }
    }

    const fn safety(self) -> Safety {
        match self {
            Self::Get => Safety::Read,
            Self::Create | Self::Modify | Self::Delete => Safety::Write,
        }
    }
}

/// What an answer to an operation means.
pub(super) fn check(operation: Operation, reply: &Reply) -> Result<Answer<'_>> {
    let safety = operation.safety();
    let envelope = match Envelope::read(reply) {
        Ok(envelope) => envelope,
        Err(why) if reply.status.is_success() => return Err(unreadable(safety, reply, why)),
        Err(_) => return Err(by_status(safety, reply)),
    };
    let code = envelope.inner_code().unwrap_or_else(|| "401".to_owned());
    if reply.status.is_success() && code == operation.success() {
        return Ok(Answer::Success(envelope));
    }
    if code == "1359" && operation == Operation::Get {
        return Ok(Answer::NoData);
    }
    // With an undocumented code, these statuses say more than the code: rejected credentials,
    // throttling, overload. With a documented code they mean nothing.
    let telling = matches!(reply.status.as_u16(), 401 | 403 | 429 | 500..);
    if telling && !effects::is_documented(&code) && !is_authorisation_failure(&envelope) {
        return Err(by_status(safety, reply).with_upstream(facts(&envelope, reply)));
    }
    Err(failure(operation, &code, &envelope, reply))
}

fn failure(operation: Operation, code: &str, envelope: &Envelope<'_>, reply: &Reply) -> Error {
    if is_authorisation_failure(envelope) {
        return error(
            Reason::UpstreamPermissionDenied,
            "the upstream reports that the gateway's account is not allowed to use this operation",
            (envelope, reply),
        );
    }
    let (reason, message) = meaning(code);
    let error = error(reason, message, (envelope, reply));
    match code {
        "10085" => with_child_entity(error, envelope),
        "10111" => error.with_violation(Violation {
            field: "profile.radio_access".to_owned(),
            description: "is not applicable to these services".to_owned(),
            reason: Reason::ValidationFailed,
        }),
        _ => error,
    }
    .with_effect(operation.safety().effect(effects::of_code(code, reply.status)))
}

/// The error for an answer whose HTTP status decides.
fn by_status(safety: Safety, reply: &Reply) -> Error {
    failed_status(safety, reply).with_effect(safety.effect(effects::of_status(reply.status)))
}

/// The vendor's code tables. Codes 1324 to 1330 only say that the operation failed, as do unknown
/// codes.
fn meaning(code: &str) -> (Reason, &'static str) {
    match code {
        "401" => (
            Reason::UpstreamAuthFailed,
            "the upstream rejected the gateway's token; check this backend's credentials",
        ),
        "6554" => {
            (Reason::ProfileAlreadyExists, "another profile of the account has this display name")
        }
        "6565" => (
            Reason::ChildConfigInvalid,
            "the configuration of a child account does not allow this profile",
        ),
        "1338" | "8196" => {
            (Reason::ProfileInUse, "a plan uses the profile; delete the plan before the profile")
        }
        "10085" => (
            Reason::RatPrivilegeConflict,
            "a child entity has radio access privileges that conflict; change its profiles first",
        ),
        "10100" => {
            (Reason::AddonServicesImmutable, "the services of an addon profile cannot be changed")
        }
        "10111" => (
            Reason::AccessTypeNotApplicable,
            "the upstream does not accept this radio access with these services",
        ),
        "10239" => {
            (Reason::UpstreamFailure, "the upstream received the write but reports that it failed")
        }
        "10240" => (
            Reason::UpstreamUnavailable,
            "the upstream received the write but timed out; the write may still take effect",
        ),
        "1324" | "1326" | "1328" | "1330" => {
            (Reason::UpstreamFailure, "the upstream says that the operation failed, and not why")
        }
        _ => (Reason::UpstreamFailure, "the upstream failed with a code that is not documented"),
    }
}

/// Whether a modify or delete of an unknown id fails this way. There is no separate code for it.
pub(super) fn may_mean_missing(error: &Error) -> bool {
    let code = error.upstream().and_then(|facts| facts.code.as_deref());
    matches!(code, Some("1326" | "1330"))
}

/// The error for an id that does not exist.
pub(super) fn not_found(reply: Option<&Reply>) -> Error {
    let error = Error::new(Reason::ProfileNotFound, "the upstream has no profile with this id");
    match reply.and_then(|reply| Some((Envelope::read(reply).ok()?, reply))) {
        Some((envelope, reply)) => error.with_upstream(facts(&envelope, reply)),
        None => error,
    }
}

/// "No data" is only valid as a reply to a read.
pub(super) fn no_data_for_a_write() -> Error {
    Error::new(Reason::UpstreamFailure, "the upstream answered a write with \"no data available\"")
        .with_effect(Effect::Unconfirmed)
}

/// Whether the token was rejected. "Authorisation Failure" means something else: the account may
/// not use an API.
pub(super) fn is_token_refused(reply: &Reply) -> bool {
    if reply.status == http::StatusCode::UNAUTHORIZED {
        return true;
    }
    // Asked of every response, and nearly all are read once more for what they say.
    may_say_401(&reply.body)
        && Envelope::read(reply).is_ok_and(|envelope| {
            // The outer code only counts if there is no inner code.
            let code = envelope.inner_code().or_else(|| envelope.outer_code());
            code.as_deref() == Some("401") && !is_authorisation_failure(&envelope)
        })
}

/// Whether JSON has the digits of 401 anywhere: in a row, with a decimal point between, or escaped.
fn may_say_401(json: &[u8]) -> bool {
    let digits = |rest: &[u8]| {
        rest.iter().filter(|byte| **byte != b'.').take(3).eq([b'4', b'0', b'1'].iter())
    };
    memchr2_iter(b'4', b'\\', json)
        .any(|at| json.get(at..).is_some_and(|rest| rest.starts_with(b"\\") || digits(rest)))
}

/// The vendor documents this text, but no code for it.
fn is_authorisation_failure(envelope: &Envelope<'_>) -> bool {
    envelope
        .description()
        .is_some_and(|text| text.to_ascii_lowercase().contains("authorisation failure"))
}

fn with_child_entity(error: Error, envelope: &Envelope<'_>) -> Error {
    let description = envelope.description().unwrap_or_default();
    let name = description
        .split_once("assigned by ")
        .map(|(_, rest)| rest.split_once(". Please").map_or(rest, |(name, _)| name))
        .map(|name| name.trim().trim_end_matches('.'))
        .filter(|name| !name.is_empty());
    match name.and_then(text::presentable) {
        Some(name) => error.with_metadata(metadata::CHILD_ENTITY, name),
        None => error,
    }
}

pub(super) fn error(
    reason: Reason,
    message: &str,
    (envelope, reply): (&Envelope<'_>, &Reply),
) -> Error {
    let facts = facts(envelope, reply);
    Error::new(reason, facts.appended_to(message)).with_upstream(facts)
}

/// The upstream's id of an exchange.
pub(super) fn request_id(reply: &Reply) -> Option<String> {
    Envelope::read(reply).ok()?.response_id().and_then(short)
}

fn short(text: String) -> Option<String> {
    text::presentable(&text::cut(&text, 64))
}

fn facts(envelope: &Envelope<'_>, reply: &Reply) -> UpstreamFacts {
    UpstreamFacts {
        status: Some(reply.status.as_u16()),
        code: envelope.inner_code().or_else(|| envelope.outer_code()).and_then(short),
        message: envelope.description().as_deref().and_then(text::presentable),
        request_id: envelope.response_id().and_then(short),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn a_refused_token_is_seen_whatever_way_the_code_is_written() {
        let codes =
            ["401", "401.0", "4.01e2", "40.1E1", "4010e-1", r#""4\u0030\u0031""#, r#"" 401""#];
        for code in codes {
            let param = format!(r#"{{"resultCode":{code},"resultDescription":"x"}}"#);
            let body = format!(r#"{{"Response":{{"resultCode":"0","resultParam":{param}}}}}"#);
            let refused = Reply::new(StatusCode::OK, HeaderMap::new(), body.into());
            assert!(is_token_refused(&refused), "{code}");
        }
    }
}
