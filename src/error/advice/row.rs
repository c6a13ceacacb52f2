//! One row of the table, and who acts.

use std::fmt;

use crate::error::reason::Reason;

/// What people do about a reason.
#[derive(Debug, Clone, Copy)]
pub struct Advice {
    /// The reason.
    pub reason: Reason,
    /// Who has to act.
    pub who: Who,
    /// What to look at first.
    pub look: &'static str,
    /// What to do then, in order, or whichever applies.
    pub steps: &'static [&'static str],
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The one who calls the gateway, or who maintains the client.
    Caller,
    /// The one who runs the gateway.
    Operator,
    /// The one who runs the upstream; the operator asks them.
    Vendor,
    /// The one who develops the gateway.
    Developer,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "the caller",
            Self::Operator => "the operator of the gateway",
            Self::Vendor => "the vendor of the upstream, asked by the operator",
            Self::Developer => "the developers of the gateway, told by the operator",
        })
    }
}

/// A row.
pub(super) const fn of(
    reason: Reason,
    who: Who,
    look: &'static str,
    steps: &'static [&'static str],
) -> Advice {
    Advice { reason, who, look, steps }
}
