//! What one window has to do with other replicas.

/// What one window has to do with others.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// While the server is away: how many replicas there are.
    pub(super) replicas: Option<u32>,
    /// Which counts of the server are known.
    pub(super) began: String,
    /// How many requests it was not told of.
    pub(super) alone: u32,
    /// How many of them it is being told of.
    pub(super) told: u32,
}

impl Sharing {
    /// What a request adds to the count.
    pub(super) fn count(&mut self) -> u32 {
        self.alone = self.alone.saturating_add(u32::from(self.replicas.is_some()));
        self.replicas.unwrap_or(1)
    }

    /// What so many requests would add; one may always be sent in an empty window.
    pub(super) fn weigh(&self, requests: u32, allowed: u32) -> u32 {
        match self.replicas {
            Some(replicas) => requests.saturating_mul(replicas).min(allowed.max(requests)),
            None => requests,
        }
    }

    /// How much of what is left is for this replica.
    pub(super) fn part(&self, left: u32) -> u32 {
        left / self.replicas.unwrap_or(1).max(1)
    }
}
