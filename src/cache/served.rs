//! How a read was answered.

use std::time::Duration;

/// How a read was answered; `x-profile-cache` in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// From the cache.
    Hit,
    /// By a load that another reader had started.
    Coalesced,
    /// By a load.
    Miss,
    /// By a load of its own, because the caller or the configuration asked for it.
    Bypass,
    /// From the cache, with an expired value.
    Stale,
}

/// How a read was answered, and how old the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Where the answer came from.
    pub outcome: Outcome,
    /// How long ago the upstream was asked. Of the errors, only "profile not found" has an age.
    pub age: Option<Duration>,
}

impl Outcome {
    /// Its name in the metadata `x-profile-cache`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Coalesced => "coalesced",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Stale => "stale",
        }
    }
}
