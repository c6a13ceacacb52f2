//! What a request is for, which decides how much of the vendor's limits it may use.

/// The classes of requests, the most important one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Ends what a write began: its further steps, reading back, undoing. Logins too, because
    /// nothing works without them.
    Settling,
    /// What one caller asked for.
    Call,
    /// Reads all profiles of the account for a caller.
    List,
    /// Looks for changes, for streams.
    Watch,
}

impl Class {
    /// The number of classes.
    pub(super) const COUNT: usize = 4;

    /// How many classes come before it.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Settling => 0,
            Self::Call => 1,
            Self::List => 2,
            Self::Watch => 3,
        }
    }

    /// What it leaves of a limit to the classes before it: a fifth for each of them.
    pub(super) fn leaves(self, limit: u32) -> u32 {
        limit / 5 * u32::from(self.rank())
    }
}
