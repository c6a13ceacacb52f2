//! Bounds that several rooms share.

use std::{ops::RangeInclusive, time::Duration};

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;
pub(crate) const GIB: usize = 1024 * MIB;

/// Time limits: nothing answers within less than a millisecond, and after an hour the caller is
/// gone.
pub(crate) const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=hours(1);

/// Message sizes: less than 1 KiB could not hold one profile, and a single message of more than 1
/// GiB could exhaust the process.
pub(crate) const MESSAGE: RangeInclusive<usize> = KIB..=GIB;

/// Requests, calls or connections at the same time.
pub(crate) const CONCURRENCY: RangeInclusive<usize> = 1..=1_000_000;

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn minutes(minutes: u64) -> Duration {
    seconds(minutes * 60)
}

pub(crate) const fn hours(hours: u64) -> Duration {
    minutes(hours * 60)
}
