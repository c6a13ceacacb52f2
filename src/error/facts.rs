//! What is true of each reason wherever it arises: one table.
//!
//! A new value of `ErrorReason` in the proto needs one row here and nothing elsewhere: statuses,
//! the cache, the gateway and `docs/reference/errors.md` read this table.

use std::time::Duration;

use crate::error::reason::{Blame, Kind, Reason, Retry};

/// What is true of a reason.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
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
    /// The upstream failed, or there was no time for it: an older cached value may be served
    /// instead. Where this is `false`, the upstream refused, and an older value would hide that.
    pub allows_stale: bool,
    /// The upstream does not accept the gateway's credentials: more logins could lock the account.
    pub pauses_logins: bool,
    /// A write has, or may have, taken effect, in part or in full.
    pub may_have_written: bool,
    /// This process lacks something of its own, such as room in a log: no backend failed.
    pub is_of_the_process: bool,
    /// What the party to blame should do, in one sentence.
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
            pauses_logins: false,
            may_have_written: false,
            is_of_the_process: false,
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

    const fn pausing_logins(mut self) -> Self {
        self.pauses_logins = true;
        self
    }

    const fn written(mut self) -> Self {
        self.may_have_written = true;
        self
    }

    const fn of_the_process(mut self) -> Self {
        self.is_of_the_process = true;
        self
    }

    const fn retry(mut self, after: Option<Duration>) -> Self {
        self.retry = Retry::After(after);
        self
    }

    /// The reason's name on the wire: the enum value without its prefix.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.reason.name()
    }
}

/// What is true of a reason.
#[must_use]
pub fn facts(reason: Reason) -> &'static Facts {
    // A test checks that there is a row for each.
    FACTS.iter().find(|facts| facts.reason == reason).unwrap_or(&UNSPECIFIED)
}

const SECOND: Option<Duration> = Some(Duration::from_secs(1));

static UNSPECIFIED: Facts =
    Facts::new(Reason::Unspecified, Kind::Unknown, Blame::Caller, "This is never sent.");

/// A row for each reason, in the order of the proto.
pub static FACTS: [Facts; 50] = {
    use self::Reason as R;
    use Kind::{
        Aborted, AlreadyExists, Cancelled, DeadlineExceeded, FailedPrecondition, Internal,
        InvalidArgument, NotFound, PermissionDenied, ResourceExhausted, Unauthenticated,
        Unavailable, Unimplemented, Unknown,
    };
    [
        UNSPECIFIED,
        caller(R::ProfileNotFound, NotFound, "Check the name against `ListProfiles`.")
            .about_a_profile(),
        caller(
            R::ProfileAlreadyExists,
            AlreadyExists,
            "Choose another display name, or use the profile that has it.",
        ),
        caller(
            R::ProfileInUse,
            FailedPrecondition,
            "Remove the plans or endpoints that use the profile first.",
        )
        .about_a_profile(),
        caller(
            R::ChildConfigInvalid,
            FailedPrecondition,
            "Change the configuration of the child account first.",
        ),
        caller(
            R::RatPrivilegeConflict,
            FailedPrecondition,
            "Change the profiles of the child entity first.",
        )
        .about_a_profile(),
        caller(
            R::AddonServicesImmutable,
            FailedPrecondition,
            "Create another addon profile with the services that you need.",
        )
        .about_a_profile(),
        caller(
            R::AccessTypeNotApplicable,
            InvalidArgument,
            "Send a different set of radio access technologies, or other services.",
        ),
        caller(
            R::ServiceAlreadyAttached,
            AlreadyExists,
            "Nothing: the profile already has the service.",
        )
        .about_a_profile(),
        caller(R::ServiceHasTrafficLimits, FailedPrecondition, "Detach the traffic limits first.")
            .about_a_profile(),
        caller(
            R::TrafficLimitNotFound,
            NotFound,
            "Check the traffic limit against `ListServices` and the profile.",
        )
        .about_a_profile(),
        caller(
            R::ServiceNotAttached,
            NotFound,
            "Check the service against the profile, or attach it first.",
        )
        .about_a_profile(),
        caller(
            R::TrafficLimitAlreadyAttached,
            AlreadyExists,
            "Nothing: the service already has the traffic limit.",
        )
        .about_a_profile(),
        caller(R::ValidationFailed, InvalidArgument, "Fix the fields listed in `BadRequest`."),
        caller(
            R::FieldNotSupported,
            InvalidArgument,
            "Leave the field out; `GetBackend` lists what the dialect supports.",
        ),
        caller(
            R::FieldImmutable,
            InvalidArgument,
            "Leave the field as it is, or create another profile.",
        ),
        caller(
            R::MalformedRequest,
            InvalidArgument,
            "Fix the client: generate it from the current proto files.",
        ),
        caller(R::BackendNotFound, NotFound, "Check the name against `ListBackends`."),
        caller(R::OperationNotSupported, Unimplemented, "Check the method against `GetBackend`."),
        caller(
            R::EtagMismatch,
            Aborted,
            "Read the profile again, and repeat the change if it still applies.",
        )
        .about_a_profile(),
        caller(R::RequestIdReused, InvalidArgument, "Use a new `request_id`."),
        caller(R::CacheMiss, FailedPrecondition, "Repeat the call without `only-if-cached`."),
        caller(
            R::MessageTooLarge,
            ResourceExhausted,
            "Ask for smaller pages or fewer fields, or send less at a time.",
        ),
        caller(
            R::UnmappedValueAtRisk,
            FailedPrecondition,
            "Make the change in the upstream's own system.",
        ),
        caller(R::ResumeTokenExpired, Aborted, "Open the stream again without a `resume_token`."),
        caller(
            R::WatchFellBehind,
            Aborted,
            "Open the stream again without a `resume_token`, and read it faster.",
        ),
        caller(
            R::DoubtfulWriteNotFound,
            NotFound,
            "Nothing, if its outcome is known by now; check the name against `ListDoubtfulWrites`.",
        ),
        caller(
            R::WriteInProgress,
            FailedPrecondition,
            "Close it after `RetryInfo`, if `ListDoubtfulWrites` still has it.",
        )
        .retry(SECOND),
        caller(
            R::ProcessingFailed,
            FailedPrecondition,
            "See `upstream_code` and `upstream_message` in the metadata.",
        ),
        upstream(
            R::UpstreamFailure,
            Unknown,
            "See `upstream_code` in the metadata, and ask the vendor.",
        )
        .allowing_stale(),
        upstream(
            R::WriteOutcomeUnknown,
            Unknown,
            "Repeat the call with the same `request_id`; without one, read before writing again.",
        )
        .about_a_profile()
        .written(),
        caller(
            R::DeadlineExceeded,
            DeadlineExceeded,
            "Repeat the call with a longer deadline. If the message names a limit of the server, \
             send the request message sooner.",
        )
        .allowing_stale(),
        upstream(R::UpstreamUnavailable, Unavailable, "Repeat the call after `RetryInfo`.")
            .retry(SECOND)
            .allowing_stale(),
        gateway(R::Overloaded, Unavailable, "Repeat the call after `RetryInfo`.")
            .retry(SECOND)
            .allowing_stale()
            .of_the_process(),
        upstream(
            R::UpstreamThrottled,
            ResourceExhausted,
            "Repeat the call after `RetryInfo`; if it happens often, lower `requests_per_second`.",
        )
        .retry(None)
        .allowing_stale(),
        gateway(
            R::UpstreamAuthFailed,
            Internal,
            "The operator has to correct the backend's credentials.",
        )
        .pausing_logins(),
        gateway(
            R::UpstreamAccountLocked,
            Unavailable,
            "The operator has to unlock the account and correct the backend's credentials.",
        )
        .retry(None)
        .pausing_logins(),
        gateway(
            R::UpstreamPermissionDenied,
            PermissionDenied,
            "The operator has to ask the vendor for the permission.",
        )
        .pausing_logins(),
        upstream(R::UpstreamInternal, Internal, "Try again later, or ask the vendor.")
            .allowing_stale(),
        upstream(
            R::UpstreamContractViolation,
            Internal,
            "The operator has to check the backend's `base_url` and the proxies on the way, or the \
             limit that the message names.",
        )
        .allowing_stale(),
        upstream(
            R::PartiallyApplied,
            FailedPrecondition,
            "The message names what is left; update or delete it.",
        )
        .about_a_profile()
        .written(),
        upstream(
            R::WriteNotApplied,
            FailedPrecondition,
            "Read the profile; if the named fields are as before, ask the vendor why.",
        )
        .about_a_profile()
        .written(),
        caller(
            R::CallerUnauthenticated,
            Unauthenticated,
            "Send valid credentials; if `why` is `unavailable`, repeat the call after `RetryInfo`.",
        ),
        caller(R::CallerNotAllowed, PermissionDenied, "Ask the operator for access."),
        gateway(
            R::GatewayInternal,
            Internal,
            "This is a bug: report it with the log line of the call.",
        )
        .allowing_stale(),
        caller(R::CallerCancelled, Cancelled, "Nothing: the caller no longer waits."),
        caller(
            R::CallerQuotaExceeded,
            ResourceExhausted,
            "Do less at a time, and repeat the call after `RetryInfo`; without one, ask for \
             less, or have the setting that the message names raised.",
        )
        .retry(SECOND)
        .allowing_stale(),
        gateway(
            R::AuditUnavailable,
            Unavailable,
            "The operator has to make the audit log writable (`[audit]`; the log says why).",
        )
        .retry(SECOND)
        .of_the_process(),
        gateway(
            R::StoreUnavailable,
            Unavailable,
            "The operator has to make the store writable, or the one that replicas share \
             reachable (`[store]`; the log, and `/readyz` of that one, say why).",
        )
        .retry(SECOND)
        .of_the_process(),
        gateway(
            R::WritesDisabled,
            FailedPrecondition,
            "Repeat the call after `RetryInfo`, or ask the operator when writes are enabled again.",
        )
        .retry(SECOND)
        .of_the_process(),
    ]
};

const fn caller(reason: Reason, kind: Kind, remedy: &'static str) -> Facts {
    Facts::new(reason, kind, Blame::Caller, remedy)
}

const fn upstream(reason: Reason, kind: Kind, remedy: &'static str) -> Facts {
    Facts::new(reason, kind, Blame::Upstream, remedy)
}

const fn gateway(reason: Reason, kind: Kind, remedy: &'static str) -> Facts {
    Facts::new(reason, kind, Blame::Gateway, remedy)
}

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
    fn nothing_that_may_have_written_is_to_be_retried() {
        for facts in &FACTS {
            let retries = facts.retry != Retry::No;
            assert!(!(retries && facts.may_have_written), "{}", facts.name());
        }
    }
}
