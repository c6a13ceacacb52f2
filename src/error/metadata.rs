//! The keys in the metadata of `ErrorInfo`: one table, which `docs/reference/errors.md` shows.

macro_rules! keys {
    ($($constant:ident = $key:literal, $when:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: &str = $key;)*

        /// Each key, when it is there, and what it says.
        pub static METADATA: &[(&str, &str, &str)] = &[$(($key, $when, $meaning)),*];
    };
}

keys! {
    CALL_ID = "call_id", "always; in a flood of refusals, the response metadata `x-call-id` say it",
        "The gateway's own id of the call, which the access log and the audit log have too.";
    OPERATION = "operation", "always", "The method, such as `GetProfile`.";
    BACKEND = "backend", "once the backend is known",
        "The name of the backend, without `backends/`.";
    DIALECT = "dialect", "once the backend is known", "What the backend speaks.";
    WHY = "why", "`CALLER_UNAUTHENTICATED`",
        "`missing`: the call has no credentials; `expired`: they were valid; `invalid`: they are \
         not; `unavailable`: that cannot be told, because the gateway does not have the keys of \
         their issuer, and the code is UNAVAILABLE.";
    RIGHT = "right", "`CALLER_NOT_ALLOWED`", "The right that the caller does not have.";
    UPSTREAM_STATUS = "upstream_status", "if the upstream answered", "Its HTTP status.";
    UPSTREAM_CODE = "upstream_code", "if the upstream answered with one", "Its own code.";
    UPSTREAM_MESSAGE = "upstream_message", "if the upstream answered with one",
        "Its own words, cut and cleaned.";
    UPSTREAM_REQUEST_ID = "upstream_request_id", "if the upstream answered with one",
        "Its id of the transaction, which the vendor's support asks for.";
    DISPLAY_NAME = "display_name", "creations that are or may be carried out, but failed",
        "The display name that was requested.";
    PROFILE_ID = "profile_id", "`PARTIALLY_APPLIED`; `WRITE_NOT_APPLIED` after a creation",
        "The upstream's id of the profile; `ResourceInfo` has its name.";
    CANDIDATES = "candidates", "`WRITE_OUTCOME_UNKNOWN` after a creation",
        "The first of the profiles that may be the new one, or another client's.";
    EXISTING_PROFILE = "existing_profile", "`PROFILE_ALREADY_EXISTS`, if it is known",
        "The profile that has the display name.";
    CURRENT_ETAG = "current_etag", "`ETAG_MISMATCH`", "The etag that the profile has now.";
    FAILED_STEP = "failed_step", "writes of several steps",
        "The step that failed, such as `attach service 32`.";
    STEPS_APPLIED = "steps_applied", "writes of several steps",
        "The steps that were carried out before it.";
    STEPS_UNDONE = "steps_undone", "writes of several steps", "Those of them that were undone.";
    REMOVAL = "removal", "`PARTIALLY_APPLIED` after a creation",
        "`may yet happen`: the gateway's own removal of the profile got no clear answer.";
    MISSING = "missing", "`PROFILE_NOT_FOUND` of a batch", "The names that do not exist.";
    MISSING_COUNT = "missing_count", "`PROFILE_NOT_FOUND` of a batch",
        "How many names do not exist.";
    CIRCUIT = "circuit", "`UPSTREAM_UNAVAILABLE`",
        "`open`: an open circuit refused the call, and nothing was sent.";
    UNTIL = "until",
        "`WRITES_DISABLED`; `UPSTREAM_UNAVAILABLE` of a circuit that an operator has forced open",
        "When that ends by itself (RFC 3339). The operator may end it before.";
    CONNECTION_FAULT = "connection_fault", "`UPSTREAM_UNAVAILABLE`, if there is no connection",
        "Why there is no connection to the upstream, such as `unknown_issuer`; nothing was sent.";
    CHILD_ENTITY = "child_entity", "`RAT_PRIVILEGE_CONFLICT`",
        "The child entity that has the conflict.";
    OMITTED_VIOLATIONS = "omitted_violations", "if not all fit",
        "How many violations `BadRequest` does not name.";
    OMITTED_METADATA = "omitted_metadata", "if not all fit",
        "How many other metadata are left out.";
}
