//! What the limits of one backend have to do with other replicas.

use tokio::time::Instant;

/// What one backend has to do with other replicas.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// The server is away, and each replica has its part.
    pub(super) is_alone: bool,
    /// How many there are, as far as is known.
    pub(super) members: u32,
    /// How many requests the server was not told of.
    pub(super) alone: u32,
    /// The rate has no room until then.
    pub(super) held: Option<Instant>,
    /// How often operators have ended a pause.
    pub(super) ends: Option<u64>,
}

impl Sharing {
    /// Counts a request.
    pub(super) fn count(&mut self) {
        self.alone = self.alone.saturating_add(u32::from(self.is_alone));
    }

    pub(super) fn held(&self, now: Instant) -> Option<Instant> {
        self.held.filter(|until| now < *until)
    }

    pub(super) fn members(&self) -> f64 {
        f64::from(self.members.max(1))
    }
}
