//! What to do about a request that is at fault.

use super::row::{
    Advice,
    Who::{Caller, Operator},
    of,
};
use crate::error::reason::Reason as R;

pub(super) const ROWS: &[Advice] = &[
    of(
        R::ProfileNotFound,
        Caller,
        "The name in the message, and `ListProfiles` of the backend with `cache-control: \
         no-cache`.",
        &[
            "If the profile is in the list, read it again: it may have been created a moment \
             before.",
            "If it is not, it was deleted, or it belongs to another account. The audit log has a \
             line of each deletion that this gateway made.",
        ],
    ),
    of(
        R::ProfileAlreadyExists,
        Caller,
        "The metadata `existing_profile`, which names the profile that has the display name.",
        &[
            "If that is the profile you wanted to create, use it. Was the call repeated without \
             its `request_id`, the first one may have created it.",
            "Otherwise, choose another display name.",
        ],
    ),
    of(
        R::ProfileInUse,
        Caller,
        "The metadata `upstream_message`, which may say what uses the profile.",
        &[
            "Find the plans and endpoints that have the profile in the upstream's own system.",
            "Move them to another profile, and delete this one again.",
        ],
    ),
    of(
        R::ChildConfigInvalid,
        Caller,
        "The metadata `upstream_message`, which says what the upstream rejects.",
        &[
            "Compare the configuration of the child account in the upstream's own system with \
             what the profile asks for.",
            "Change one of the two, and send the request again.",
        ],
    ),
    of(
        R::RatPrivilegeConflict,
        Caller,
        "The metadata `child_entity`, which names the entity that has the conflict.",
        &[
            "Read the profiles of that entity, and compare their `radio_access` with the one you \
             asked for.",
            "Change those first, or ask for the technologies that both may have.",
        ],
    ),
    of(
        R::AddonServicesImmutable,
        Caller,
        "The `category` of the profile: its services can be changed only if that is not an addon.",
        &["Let the plans use the new profile, and delete the old one."],
    ),
    of(
        R::AccessTypeNotApplicable,
        Caller,
        "The `radio_access` and the `services` of the request, together.",
        &[
            "Ask `ListServices` for the services that the backend has.",
            "Send fewer radio access technologies, or services that exist for all of them.",
        ],
    ),
    of(
        R::ServiceAlreadyAttached,
        Caller,
        "The `services` of the profile.",
        &["Treat the call as successful: the profile has what was asked for."],
    ),
    of(
        R::ServiceHasTrafficLimits,
        Caller,
        "The `traffic_limits` of the service in the profile.",
        &["Detach each of them with `DetachTrafficLimit`, and then the service."],
    ),
    of(
        R::TrafficLimitNotFound,
        Caller,
        "The traffic limits that `ListServices` has for the service.",
        &["Correct the id, or have the limit added in the upstream's own system."],
    ),
    of(
        R::ServiceNotAttached,
        Caller,
        "The `services` of the profile.",
        &[
            "If the service was to be detached, treat the call as successful.",
            "Otherwise, attach the service first.",
        ],
    ),
    of(
        R::TrafficLimitAlreadyAttached,
        Caller,
        "The `traffic_limits` of the service in the profile.",
        &["Treat the call as successful: the service has what was asked for."],
    ),
    of(
        R::ValidationFailed,
        Caller,
        "The detail `BadRequest`, which lists every violation with its field.",
        &[
            "Fix all fields that are listed. Nothing was sent to the upstream.",
            "`validate_only = true` checks a request without writing.",
        ],
    ),
    of(
        R::FieldNotSupported,
        Caller,
        "The capabilities of the backend, as `GetBackend` lists them.",
        &[
            "Leave the field out, or send the request to a backend whose dialect has it.",
            "`TranslateProfile` drafts what a profile becomes in another backend.",
        ],
    ),
    of(
        R::FieldImmutable,
        Caller,
        "The detail `BadRequest`, which names the field.",
        &[
            "Leave the field out of the update mask.",
            "If it has to change, create another profile and delete this one.",
        ],
    ),
    of(
        R::MalformedRequest,
        Caller,
        "The proto files that the client was generated from.",
        &[
            "Generate the client again from the files of this release.",
            "If that does not help, look for a proxy that changes the body.",
        ],
    ),
    of(
        R::BackendNotFound,
        Caller,
        "The names that `ListBackends` gives this caller.",
        &[
            "Correct the name. A caller sees only the backends in which it has a right.",
            "If the name is right, ask the operator: the backend may have been removed from the \
             configuration.",
        ],
    ),
    of(
        R::OperationNotSupported,
        Caller,
        "The methods that `GetBackend` lists for the backend.",
        &[
            "Use another method, or another backend.",
            "If the method does not exist at all, the client is newer than the gateway.",
        ],
    ),
    of(
        R::EtagMismatch,
        Caller,
        "The metadata `current_etag`, and the profile as it is now.",
        &[
            "Read the profile, and look what another client has changed.",
            "Repeat the change with the new etag if it still applies.",
        ],
    ),
    of(
        R::RequestIdReused,
        Caller,
        "Where the client takes its `request_id` from: each write needs one of its own.",
        &[
            "Send the write with a new `request_id`, if it was not sent before.",
            "If it was, repeat it as it was then: the request has to be the same.",
        ],
    ),
    of(
        R::CacheMiss,
        Caller,
        "The `cache-control` of the call.",
        &["Leave the directive out, or take the answer as it is: nothing was sent upstream."],
    ),
    of(
        R::MessageTooLarge,
        Caller,
        "The message of the error, which names the limit.",
        &[
            "Lower `page_size`, or name fewer fields in `read_mask`.",
            "If the size is right, the operator can raise the limit that the message names.",
        ],
    ),
    of(
        R::UnmappedValueAtRisk,
        Caller,
        "The member `unmapped` of the profile.",
        &[
            "Make this change in the upstream's own system.",
            "An update mask that leaves the field out changes the rest through the gateway.",
        ],
    ),
    of(
        R::ResumeTokenExpired,
        Caller,
        "How old the token is, and whether the gateway was replaced since.",
        &[
            "Open the stream without a `resume_token`, and take its initial list as the state of \
             now.",
            "If it happens at each restart, the operator can give the gateway a store with a \
             `path`.",
        ],
    ),
    of(
        R::WatchFellBehind,
        Caller,
        "How long the client takes for each message of the stream.",
        &[
            "Open the stream without a `resume_token`.",
            "Read it in a task of its own, and do the work elsewhere.",
        ],
    ),
    of(
        R::DoubtfulWriteNotFound,
        Caller,
        "`ListDoubtfulWrites` with `backends/-`.",
        &["If the write is not in the list, it is settled: the audit log has a line of its \
             outcome."],
    ),
    of(
        R::WriteInProgress,
        Caller,
        "The `RetryInfo`, which says when it can be closed.",
        &[
            "Wait that long, and look at `ListDoubtfulWrites` again.",
            "Close the write only if it is still there.",
        ],
    ),
    of(
        R::ProcessingFailed,
        Caller,
        "The metadata `upstream_code` and `upstream_message`.",
        &[
            "Correct the request by what they say.",
            "If they say nothing useful, give the vendor the `upstream_request_id`.",
        ],
    ),
    of(
        R::DeadlineExceeded,
        Caller,
        "The deadline of the client, and `duration_ms` of the call in the access log.",
        &[
            "Give the call more time. A write with this reason was not carried out.",
            "If calls of the same kind were faster before, look at the backend: see \
             `UPSTREAM_UNAVAILABLE`.",
        ],
    ),
    of(
        R::CallerUnauthenticated,
        Caller,
        "The metadata `why`: `missing`, `expired`, `invalid`, or `unavailable`.",
        &[
            "Get new credentials for `missing` and `expired`. For `invalid`, compare issuer and \
             audience with the configuration.",
            "For `unavailable`, the operator has to make the keys of the issuer reachable: see \
             the alert SigningKeysUnreadable.",
        ],
    ),
    of(
        R::CallerNotAllowed,
        Operator,
        "The metadata `right`, and the line with `decision` = `denied` in the audit log.",
        &[
            "`profile-gateway access --as NAME` prints what the caller may do in each backend.",
            "Add the right to a role of the caller in `[auth.roles.NAME]`, if it should have it. \
             That needs no restart.",
        ],
    ),
    of(
        R::CallerCancelled,
        Caller,
        "Whether the client gives up before its own deadline.",
        &["Nothing has to be done. What was sent of a write goes on, and its outcome is in the \
             audit log."],
    ),
    of(
        R::CallerQuotaExceeded,
        Caller,
        "The message of the error, which names the bound and the setting that makes it.",
        &[
            "Do less at a time, and repeat after `RetryInfo`.",
            "If the caller needs more, the operator can raise its `quota`, or `share_percent` of \
             `[callers]`.",
        ],
    ),
];
