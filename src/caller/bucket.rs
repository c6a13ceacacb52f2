//! A token bucket without a lock. It counts in time: what is taken of it is in use until so much
//! time has passed.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

/// A second, as it is counted.
pub(super) const SECOND: u64 = 1_000_000;

/// All times are in microseconds since this one.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A bucket, of which nothing is in use at first.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    whole_at: AtomicU64,
}

impl Bucket {
    /// Takes `cost`, if no more than `most` is in use. If not, says how long it takes until then.
    pub(super) fn take(&self, cost: u64, most: u64) -> Result<(), u64> {
        let (now, relaxed) = (now(), Ordering::Relaxed);
        let next = |whole_at: u64| (whole_at <= now + most).then(|| whole_at.max(now) + cost);
        let taken = self.whole_at.fetch_update(relaxed, relaxed, next);
        taken.map(drop).map_err(|whole_at| whole_at.saturating_sub(now + most))
    }

    /// Something of it is in use for this long, at least.
    pub(super) fn use_for(&self, time: u64) {
        self.whole_at.fetch_max(now() + time, Ordering::Relaxed);
    }

    /// From now on, nothing of it is in use.
    pub(super) fn refill(&self) {
        self.whole_at.store(0, Ordering::Relaxed);
    }

    /// Whether nothing of it is in use.
    pub(super) fn is_whole(&self) -> bool {
        self.whole_at.load(Ordering::Relaxed) <= now()
    }
}

fn now() -> u64 {
    u64::try_from(BEGIN.elapsed().as_micros()).unwrap_or(u64::MAX)
}
