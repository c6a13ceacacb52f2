//! Why calls fail, and what is true of each reason wherever it arises: one table.
//!
//! A new value of `ErrorReason` in the proto needs one row here and nothing elsewhere: statuses, the
//! cache, the gateway and `docs/reference/errors.md` read this table.

use std::time::Duration;

pub use crate::pb::ErrorReason as Reason;

/// What a caller may conclude; one for each gRPC code that the gateway answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the gRPC codes")]
pub enum Kind {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    Unimplemented,
    Internal,
    Unavailable,
    Unauthenticated,
}

/// Who has to act for the call to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The request is at fault, or the state that it meets.
    Caller,
    /// The upstream is at fault, or the way to it.
    Upstream,
    /// The gateway is at fault: its code, its credentials or its capacity.
    Gateway,
}

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again, or could write twice.
    No,
    /// Nothing was written; again after this time, when one is known.
    After(Option<Duration>),
}

/// What is true of a reason.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Facts {
    /// The reason.
    pub reason: Reason,
    /// The kind that it has unless the error says otherwise.
    pub kind: Kind,
    /// Who has to act.
    pub blame: Blame,
    /// Whether the same request may be sent again, unless the error says otherwise.
    pub retry: Retry,
    /// It is about the profile that the request names, so its message begins with the name.
    pub is_about_a_profile: bool,
    /// The upstream does not work, or there was no time for it: an older cached value may stand in.
    /// Where it is `false` the upstream refused, and it refuses whatever was there before.
    pub allows_stale: bool,
    /// A write would fail for the same reason as the read did, or would find no time.
    pub is_out_of_reach: bool,
    /// The upstream does not accept the gateway's credentials: more logins could lock the account.
    pub pauses_logins: bool,
    /// A write has, or may have, taken effect in part or as a whole.
    pub may_have_written: bool,
    /// What whoever is to blame should do, in one sentence.
    pub remedy: &'static str,
}

impl Facts {
    const fn new(reason: Reason, kind: Kind, blame: Blame, remedy: &'static str) -> Self {
        Self {
            reason,
            kind,
            blame,
            retry: Retry::No,
            is_about_a_profile: false,
            allows_stale: false,
            is_out_of_reach: false,
            pauses_logins: false,
            may_have_written: false,
            remedy,
        }
    }

    const fn about_a_profile(mut self) -> Self {
        self.is_about_a_profile = true;
        self
    }

    const fn allowing_stale(mut self) -> Self {
        self.allows_stale = true;
        self
    }

    const fn out_of_reach(mut self) -> Self {
        self.is_out_of_reach = true;
        self
    }

    const fn pausing_logins(mut self) -> Self {
        self.pauses_logins = true;
        self
    }

    const fn written(mut self) -> Self {
        self.may_have_written = true;
        self
    }

    const fn retry(mut self, after: Option<Duration>) -> Self {
        self.retry = Retry::After(after);
        self
    }

    /// The reason's name on the wire: the enum value without its prefix.
    #[must_use]
    pub fn name(&self) -> &'static str {
        reason_name(self.reason)
    }
}

/// The reason's name on the wire: the enum value without its prefix.
#[must_use]
pub fn reason_name(reason: Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// What is true of a reason.
#[must_use]
pub fn facts(reason: Reason) -> &'static Facts {
    // A test holds that there is a row for each.
    FACTS.iter().find(|facts| facts.reason == reason).unwrap_or(&UNSPECIFIED)
}

const SECOND: Option<Duration> = Some(Duration::from_secs(1));

static UNSPECIFIED: Facts =
    Facts::new(Reason::Unspecified, Kind::Unknown, Blame::Caller, "This is never sent.");

/// A row for each reason, in the order of the proto.
pub static FACTS: [Facts; 43] = {
    use Blame::{Caller, Gateway, Upstream};
    use Kind::{
        Aborted, AlreadyExists, Cancelled, DeadlineExceeded, FailedPrecondition, Internal,
        InvalidArgument, NotFound, PermissionDenied, ResourceExhausted, Unauthenticated,
        Unavailable, Unimplemented, Unknown,
    };
    [
        UNSPECIFIED,
        Facts::new(
            Reason::ProfileNotFound,
            NotFound,
            Caller,
            "Check the name against `ListProfiles`.",
        )
        .about_a_profile(),
        Facts::new(
            Reason::ProfileAlreadyExists,
            AlreadyExists,
            Caller,
            "Choose another display name, or use the profile that has it.",
        ),
        Facts::new(
            Reason::ProfileInUse,
            FailedPrecondition,
            Caller,
            "Remove the plans or endpoints that use the profile first.",
        )
        .about_a_profile(),
        Facts::new(
            Reason::ChildConfigInvalid,
            FailedPrecondition,
            Caller,
            "Change the configuration of the child account first.",
        ),
        Facts::new(
            Reason::RatPrivilegeConflict,
            FailedPrecondition,
            Caller,
            "Change the profiles of the child entity first.",
        )
        .about_a_profile(),
        Facts::new(
            Reason::AddonServicesImmutable,
            FailedPrecondition,
            Caller,
            "Create another addon profile with the services that you need.",
        )
        .about_a_profile(),
        Facts::new(
            Reason::AccessTypeNotApplicable,
            InvalidArgument,
            Caller,
            "Send a different set of radio access technologies, or other services.",
        ),
        Facts::new(
            Reason::ServiceAlreadyAttached,
            AlreadyExists,
            Caller,
            "Nothing: the profile already has the service.",
        )
        .about_a_profile(),
        Facts::new(
            Reason::ServiceHasTrafficLimits,
            FailedPrecondition,
            Caller,
            "Detach the traffic limits first.",
        )
        .about_a_profile(),
        Facts::new(
            Reason::TrafficLimitNotFound,
            NotFound,
            Caller,
            "Check the traffic limit against `ListServices` and the profile.",
        )
        .about_a_profile(),
        Facts::new(
            Reason::ServiceNotAttached,
            NotFound,
            Caller,
            "Check the service against the profile, or attach it first.",
        )
        .about_a_profile(),
        Facts::new(
            Reason::TrafficLimitAlreadyAttached,
            AlreadyExists,
            Caller,
            "Nothing: the service already has the traffic limit.",
        )
        .about_a_profile(),
        Facts::new(
            Reason::ValidationFailed,
            InvalidArgument,
            Caller,
            "Fix the fields listed in `BadRequest`.",
        ),
        Facts::new(
            Reason::FieldNotSupported,
            InvalidArgument,
            Caller,
            "Leave the field out; `GetBackend` lists what the dialect supports.",
        ),
        Facts::new(
            Reason::FieldImmutable,
            InvalidArgument,
            Caller,
            "Leave the field as it is, or create another profile.",
        ),
        Facts::new(
            Reason::MalformedRequest,
            InvalidArgument,
            Caller,
            "Fix the client: generate it from the current proto files.",
        ),
        Facts::new(
            Reason::BackendNotFound,
            NotFound,
            Caller,
            "Check the name against `ListBackends`.",
        ),
        Facts::new(
            Reason::OperationNotSupported,
            Unimplemented,
            Caller,
            "Check the method against `GetBackend`.",
        ),
        Facts::new(
            Reason::EtagMismatch,
            Aborted,
            Caller,
            "Read the profile again, and repeat the change if it still applies.",
        )
        .about_a_profile(),
        Facts::new(Reason::RequestIdReused, InvalidArgument, Caller, "Use a new `request_id`."),
        Facts::new(
            Reason::CacheMiss,
            FailedPrecondition,
            Caller,
            "Repeat the call without `only-if-cached`.",
        ),
        Facts::new(
            Reason::MessageTooLarge,
            ResourceExhausted,
            Caller,
            "Ask for smaller pages or fewer fields, or send less at a time.",
        ),
        Facts::new(
            Reason::UnmappedValueAtRisk,
            FailedPrecondition,
            Caller,
            "Make the change in the upstream's own system.",
        ),
        Facts::new(
            Reason::ResumeTokenExpired,
            Aborted,
            Caller,
            "Open the stream again without a `resume_token`.",
        ),
        Facts::new(
            Reason::WatchFellBehind,
            Aborted,
            Caller,
            "Open the stream again without a `resume_token`, and read it faster.",
        ),
        Facts::new(
            Reason::ProcessingFailed,
            FailedPrecondition,
            Caller,
            "See `upstream_code` and `upstream_message` in the metadata.",
        ),
        Facts::new(
            Reason::UpstreamFailure,
            Unknown,
            Upstream,
            "See `upstream_code` in the metadata, and ask the vendor.",
        )
        .allowing_stale(),
        Facts::new(
            Reason::WriteOutcomeUnknown,
            Unknown,
            Upstream,
            "Repeat the call with the same `request_id`; without one, read before writing again.",
        )
        .about_a_profile()
        .written(),
        Facts::new(
            Reason::DeadlineExceeded,
            DeadlineExceeded,
            Caller,
            "Repeat the call with a longer deadline.",
        )
        .allowing_stale()
        .out_of_reach(),
        Facts::new(
            Reason::UpstreamUnavailable,
            Unavailable,
            Upstream,
            "Repeat the call after `RetryInfo`.",
        )
        .retry(SECOND)
        .allowing_stale()
        .out_of_reach(),
        Facts::new(Reason::Overloaded, Unavailable, Gateway, "Repeat the call after `RetryInfo`.")
            .retry(SECOND)
            .allowing_stale()
            .out_of_reach(),
        Facts::new(
            Reason::UpstreamThrottled,
            ResourceExhausted,
            Upstream,
            "Repeat the call after `RetryInfo`; if it happens often, lower `requests_per_second`.",
        )
        .retry(None)
        .allowing_stale()
        .out_of_reach(),
        Facts::new(
            Reason::UpstreamAuthFailed,
            Internal,
            Gateway,
            "The operator has to correct the backend's credentials.",
        )
        .out_of_reach()
        .pausing_logins(),
        Facts::new(
            Reason::UpstreamAccountLocked,
            Unavailable,
            Gateway,
            "The operator has to unlock the account and correct the backend's credentials.",
        )
        .retry(None)
        .out_of_reach()
        .pausing_logins(),
        Facts::new(
            Reason::UpstreamPermissionDenied,
            PermissionDenied,
            Gateway,
            "The operator has to ask the vendor for the permission.",
        )
        .pausing_logins(),
        Facts::new(
            Reason::UpstreamInternal,
            Internal,
            Upstream,
            "Try again later, or ask the vendor.",
        )
        .allowing_stale(),
        Facts::new(
            Reason::UpstreamContractViolation,
            Internal,
            Upstream,
            "The operator has to check the backend's `base_url` and the proxies on the way.",
        )
        .allowing_stale(),
        Facts::new(
            Reason::PartiallyApplied,
            FailedPrecondition,
            Upstream,
            "The message names what is left; update or delete it.",
        )
        .written(),
        Facts::new(
            Reason::CallerUnauthenticated,
            Unauthenticated,
            Caller,
            "Send valid credentials.",
        ),
        Facts::new(
            Reason::CallerNotAllowed,
            PermissionDenied,
            Caller,
            "Ask the operator for access.",
        ),
        Facts::new(
            Reason::GatewayInternal,
            Internal,
            Gateway,
            "This is a bug: report it with the log line of the call.",
        )
        .allowing_stale(),
        Facts::new(
            Reason::CallerCancelled,
            Cancelled,
            Caller,
            "Nothing: the caller no longer waits.",
        ),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_the_proto_has_its_row() {
        let rows: Vec<Reason> = FACTS.iter().map(|facts| facts.reason).collect();
        let defined: Vec<Reason> = (0..1000).filter_map(|n| Reason::try_from(n).ok()).collect();
        assert_eq!(rows, defined);
    }

    #[test]
    fn remedies_are_sentences() {
        for facts in &FACTS {
            let remedy = facts.remedy;
            assert!(remedy.ends_with('.') && !remedy.contains('|'), "{remedy}");
            assert!(remedy.starts_with(char::is_uppercase), "{remedy}");
        }
    }

    #[test]
    fn only_what_is_safe_is_said_to_be_worth_repeating() {
        for facts in &FACTS {
            let retries = facts.retry != Retry::No;
            assert!(!(retries && facts.may_have_written), "{}", facts.name());
        }
    }
}
