//! What one call has cost upstreams so far: requests, and the time that they took.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// What the sessions of one call have sent. Requests at once add up.
#[derive(Debug, Default)]
pub struct Spending {
    requests: AtomicU32,
    nanoseconds: AtomicU64,
}

impl Spending {
    /// A request is about to be sent.
    pub fn began(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is over, or the call has waited so long for one of another call.
    pub fn took(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Requests so far, those in flight included.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The time of those that are over.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }
}
