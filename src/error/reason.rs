//! Why calls fail, in general terms: the reason, and what kinds, blames and retries there are.

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
