//! How far an exchange came that has no complete reply.

use super::{breaker::Verdict, connection::ConnectionFault};
use crate::error::{Error, metadata::CONNECTION_FAULT};

/// An exchange without a complete reply.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) cause: Cause,
    /// Why there is no connection, if that is why there is no reply.
    pub(super) fault: Option<ConnectionFault>,
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
    /// No connection, and another attempt would find none either.
    Unconnectable,
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
        Self { error, cause, fault: None }
    }

    /// There is no connection for this reason.
    pub(super) fn of_connection(self, fault: ConnectionFault) -> Self {
        let error = self.error.with_metadata(CONNECTION_FAULT, fault.name());
        Self { error, fault: Some(fault), ..self }
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
            | Self::Unconnectable
            | Self::Lost
            | Self::Cut
            | Self::Slow
            | Self::Malformed => Some(Verdict::Bad),
            Self::TooLarge => Some(Verdict::Good),
            Self::Local | Self::Login | Self::Deadline => None,
        }
    }
}
