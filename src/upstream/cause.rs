//! How far an exchange came that has no complete reply.

use super::breaker::Verdict;
use crate::error::Error;

/// An exchange without a complete reply.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) cause: Cause,
}

/// Where an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Before it began, because of the gateway's own limits.
    Local,
    /// Before it began, because a login failed.
    Login,
    /// No connection, or a refusal of the upstream to process the request: nothing was done.
    NotSent,
    /// No secure connection. Sending the request again would not help.
    Insecure,
    /// No reply: the request may have arrived.
    Lost,
    /// During the reply.
    Cut,
    /// The upstream took too long.
    Slow,
    /// The caller's deadline came first.
    Deadline,
    /// The reply is too large.
    TooLarge,
    /// The reply is not HTTP, or not in the coding that it names. A repeat would not help.
    Malformed,
}

impl Failure {
    pub(super) fn new(cause: Cause, error: Error) -> Self {
        Self { error, cause }
    }

    /// The gateway itself sent nothing.
    pub(super) fn local(error: Error) -> Self {
        Self::new(Cause::Local, error)
    }
}

impl Cause {
    /// What it says about the upstream; nothing if the caller ran out of time.
    pub(super) fn verdict(self) -> Option<Verdict> {
        match self {
            Self::NotSent
            | Self::Insecure
            | Self::Lost
            | Self::Cut
            | Self::Slow
            | Self::Malformed => Some(Verdict::Bad),
            Self::TooLarge => Some(Verdict::Good),
            Self::Local | Self::Login | Self::Deadline => None,
        }
    }
}
