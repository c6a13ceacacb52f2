//! Why calls fail, in general terms: reason, kind, blame, and whether to retry.

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
    /// The request is at fault, or the state of what it is about.
    Caller,
    /// The upstream is at fault, or the network path to it.
    Upstream,
    /// The gateway is at fault: its code, its credentials or its capacity.
    Gateway,
}

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No: it would fail again, or could write twice.
    No,
    /// Yes: nothing was written. Wait this long, if a time is known.
    After(Option<Duration>),
}

/// A time to wait as callers are told it, rounded up to at least one second: one who comes back too
/// early is refused again.
#[must_use]
pub fn whole_seconds(time: Duration) -> Duration {
    let up = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs((time.as_secs() + up).max(1))
}
