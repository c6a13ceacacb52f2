//! What to do about upstreams, and about the gateway itself.

use super::row::{
    Advice,
    Who::{Caller, Developer, Operator, Vendor},
    of,
};
use crate::error::reason::Reason as R;

pub(super) const ROWS: &[Advice] = &[
    of(
        R::UpstreamFailure,
        Vendor,
        "The metadata `upstream_code` and `upstream_request_id`.",
        &[
            "Ask the vendor what the code means, and give them the id.",
            "If it is a code that should have a reason of its own, report it to the developers of \
             the gateway.",
        ],
    ),
    of(
        R::WriteOutcomeUnknown,
        Caller,
        "`ListDoubtfulWrites` of the backend, which says what was sent, and what can be done.",
        &[
            "Repeat the call with the same `request_id`: the gateway looks first, and sends again \
             only what had no effect.",
            "Without a `request_id`, read the profile, or look for its display name, before \
             anything is written again.",
            "The operator closes what does not settle by itself: see the alert DoubtfulWriteStays.",
        ],
    ),
    of(
        R::UpstreamUnavailable,
        Operator,
        "`status` of `GetBackend`: its circuit, and the last error.",
        &[
            "With `circuit` = `open` in the metadata, see the alert CircuitOpen.",
            "With `connection_fault`, see the alert NoConnection.",
            "Otherwise, ask the vendor. Reads may be answered from the cache meanwhile, if \
             `stale_if_error` allows it.",
        ],
    ),
    of(
        R::UpstreamThrottled,
        Operator,
        "`profile_gateway_upstream_throttled_total` and `profile_gateway_upstream_shed_total` of \
         the backend.",
        &[
            "If the upstream answers 429, lower `requests_per_second`, or ask the vendor for \
             more: see the alert UpstreamThrottled.",
            "If the gateway keeps within a limit by itself, see the alert WindowRunsOut.",
        ],
    ),
    of(
        R::UpstreamInternal,
        Vendor,
        "`status` of `GetBackend`, and the metadata `upstream_request_id`.",
        &[
            "Try again later. Once it happens often, the circuit opens: see the alert CircuitOpen.",
            "Give the vendor the id.",
        ],
    ),
    of(
        R::UpstreamContractViolation,
        Operator,
        "The message of the error: it names the status, or the limit.",
        &[
            "Compare `base_url` with what the vendor gave you. A page of HTML comes from a proxy \
             or a portal.",
            "If it names a limit, raise `max_response_bytes` of the backend, or give the gateway \
             more memory.",
        ],
    ),
    of(
        R::PartiallyApplied,
        Caller,
        "The metadata `steps_applied`, `failed_step`, and `profile_id`.",
        &[
            "Read the profile that the message names.",
            "Update it to what it should be, or delete it. With `removal` = `may yet happen`, \
             wait a minute before that.",
        ],
    ),
    of(
        R::WriteNotApplied,
        Vendor,
        "The profile as it is now, read with `cache-control: no-cache`.",
        &[
            "If it shows the change by now, the upstream is slow: the operator can raise \
             `settle_time`.",
            "If not, repeat the call with the same `request_id`, and ask the vendor why it \
             acknowledged the write.",
        ],
    ),
    of(
        R::Overloaded,
        Operator,
        "`profile_gateway_calls_shed_total`, and `profile_gateway_memory_used_bytes` beside its \
         limit.",
        &["If calls are shed, see the alert CallsShed. If a part of the memory is full, see the \
             alert MemoryFull."],
    ),
    of(
        R::UpstreamAuthFailed,
        Operator,
        "The line of the log with the cause, and the metadata `upstream_code`.",
        &[
            "Correct the credentials in the configuration or in the file that it names. A reload \
             tries them at once: see the alert CredentialsRefused.",
            "Do not repeat a wrong password by hand: some upstreams lock the account.",
        ],
    ),
    of(
        R::UpstreamAccountLocked,
        Operator,
        "The account in the upstream's own system.",
        &[
            "Have it unlocked, and correct the credentials.",
            "Then end the pause at the admin port: `POST /backends/NAME/end-pause`.",
        ],
    ),
    of(
        R::UpstreamPermissionDenied,
        Operator,
        "The metadata `operation` and `upstream_message`.",
        &[
            "Ask the vendor for the permission that this operation needs.",
            "Until then, let the roles of callers leave it out.",
        ],
    ),
    of(
        R::GatewayInternal,
        Developer,
        "The line of the log with the `call_id` of the error.",
        &[
            "Report the line with the version, which `profile-gateway --version` prints.",
            "If a panic is in the log, add its text.",
        ],
    ),
    of(
        R::AuditUnavailable,
        Operator,
        "The line of the log that says why the audit log cannot be written.",
        &[
            "Make room on the disk, or let the reader of the pipe go on: see the alert \
             JournalRefused.",
            "Nothing was sent: callers can repeat the write.",
        ],
    ),
    of(
        R::StoreUnavailable,
        Operator,
        "The line of the log that says why, and `/readyz` of the admin port for a store that \
         replicas share.",
        &[
            "For a store on the disk, see the alert StoreFails.",
            "For one that is shared, see the alert SharedStoreAway.",
            "Nothing was sent: callers can repeat the write.",
        ],
    ),
    of(
        R::WritesDisabled,
        Operator,
        "`GET /levers` of the admin port, which says who has disabled writes, why, and until when.",
        &[
            "If the work is done, end the lever with `DELETE` of its path.",
            "Otherwise, callers wait until the time in the metadata `until`.",
        ],
    ),
];
