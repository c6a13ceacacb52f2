//! A creation, as long as it may be asked which profile is its own.

use crate::store::Moment;

/// A digest of what a creation asks for, or of the name of a profile.
pub(super) type Digested = [u8; 32];

/// A creation that may have made a profile.
pub(super) struct Creation {
    pub(super) began: Moment,
    /// What it asked for, once it is about to be sent.
    pub(super) asked: Option<Digested>,
    /// When it ended in doubt; `None` while it runs.
    pub(super) ended: Option<Moment>,
    pub(super) has_claimed: bool,
}
