//! Until when memory may be used.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::shared::protocol::Time;

/// The lease of this replica. Reading it takes no lock and asks no one.
#[derive(Debug)]
pub struct Lease {
    start: Instant,
    /// In nanoseconds since the start.
    until: AtomicU64,
}

impl Lease {
    /// One that is over.
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), until: AtomicU64::new(0) }
    }

    /// The time on the clock of the protocol.
    #[must_use]
    pub fn now(&self) -> Time {
        self.start.elapsed()
    }

    /// Whether a read that has begun may be answered from memory.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        nanoseconds(self.now()) < self.until.load(Ordering::SeqCst)
    }

    pub(super) fn set(&self, until: Time) {
        self.until.store(nanoseconds(until), Ordering::SeqCst);
    }

    /// One that lasts so long.
    #[cfg(test)]
    pub(crate) fn lasting(time: Time) -> Self {
        let lease = Self::new();
        lease.set_lasting(time);
        lease
    }

    /// From now on, it lasts so long.
    #[cfg(test)]
    pub(crate) fn set_lasting(&self, time: Time) {
        self.set(self.now() + time);
    }
}

fn nanoseconds(time: Time) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
