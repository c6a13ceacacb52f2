//! Why a call is of no one.

use std::borrow::Cow;

use crate::error::Error;

/// What a caller without valid proofs is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It has none.
    Missing,
    /// They have expired.
    Expired,
    /// They are not valid.
    Invalid,
    /// That cannot be told for now.
    Unavailable,
}

impl Why {
    /// Its word in the metadata of an error.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a call is of no one: what its caller is told, and the cause for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproved {
    /// What its caller is told.
    pub why: Why,
    /// For the log alone. It has nothing of a token.
    pub cause: Cow<'static, str>,
}

impl Unproved {
    pub(super) fn expired(cause: &'static str) -> Self {
        Self { why: Why::Expired, cause: cause.into() }
    }

    pub(super) fn invalid(cause: impl Into<Cow<'static, str>>) -> Self {
        Self { why: Why::Invalid, cause: cause.into() }
    }
}

/// Why a call has no identity.
#[derive(Debug, Clone)]
pub enum NotIdentified {
    /// Nothing proves who it is of.
    Unproved(Unproved),
    /// It was not looked at, for too many calls like it.
    Refused(Box<Error>),
}

impl From<Unproved> for NotIdentified {
    fn from(unproved: Unproved) -> Self {
        Self::Unproved(unproved)
    }
}
