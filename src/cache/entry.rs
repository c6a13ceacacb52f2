//! One value in the store, and how old it is.
//!
//! Times are in milliseconds since the cache was created: half the size of an instant, and each
//! entry has two.

use std::time::Duration;

use tokio::time::Instant;

use super::{generations::Proof, settings::CacheSettings, value::Value};

/// The cache's own clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        self.at(Instant::now())
    }

    pub(super) fn at(self, instant: Instant) -> u64 {
        millis(instant.saturating_duration_since(self.0))
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A value, when it was read, and how long it is valid. Cheap to clone. Stored by value, because a
/// pointer to it would cost 32 bytes more.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) proof: Proof,
    /// When the read began. It includes every change made before that.
    pub(super) asked_at: u64,
    /// The end of its time to live.
    pub(super) fresh_until: u64,
}

/// How far an entry has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Within its time to live.
    Fresh,
    /// It is served while it is read again.
    Revalidate,
    /// It is served only if the upstream fails.
    IfError,
    /// Too old to be served.
    Over,
}

impl Entry {
    pub(super) fn freshness(&self, now: u64, settings: &CacheSettings) -> Freshness {
        let Some(over) = now.checked_sub(self.fresh_until).filter(|over| *over > 0) else {
            return Freshness::Fresh;
        };
        // Only a fresh read can say that something does not exist.
        if matches!(self.value, Value::Absent(_)) {
            return Freshness::Over;
        }
        if over <= millis(settings.stale_while_revalidate) {
            Freshness::Revalidate
        } else if over <= millis(settings.stale_if_error) {
            Freshness::IfError
        } else {
            Freshness::Over
        }
    }

    pub(super) fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.asked_at))
    }
}
