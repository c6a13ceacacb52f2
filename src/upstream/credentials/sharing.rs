//! What the credentials of one backend have to do with other replicas.

use tokio::time::Instant;

/// What one backend has to do with others.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Whether others are asked before each login.
    pub(super) asks: bool,
    /// The upstream has accepted these credentials in this process, and refused them nowhere since.
    pub(super) has_worked: bool,
    /// When they may be tried without asking.
    pub(super) alone_at: Option<Instant>,
    /// A pause of all replicas was taken over since the renewal under way began.
    pub(super) has_heard: bool,
}

impl Sharing {
    pub(super) fn has_worked(&mut self) {
        self.has_worked = true;
    }

    pub(super) fn was_refused(&mut self) {
        (self.has_worked, self.alone_at) = (false, None);
    }
}

/// A login without asking others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Alone {
    /// The credentials have worked before.
    Known,
    /// It is the one try.
    Try,
}
