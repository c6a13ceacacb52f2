//! What is counted of the store.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};

use crate::telemetry::{Registry, buckets::SECONDS};

/// The metrics of the store. Clones share them.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    pub(super) changes: Counter,
    pub(super) commits: Histogram,
    pub(super) failures: Counter,
    pub(super) bytes: Gauge,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            changes: Counter::default(),
            commits: Histogram::new(SECONDS),
            failures: Counter::default(),
            bytes: Gauge::default(),
        }
    }
}

impl StoreMetrics {
    /// All at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register("store_changes", "Changes that the store has kept", &metrics.changes);
        to.register(
            "store_commit_duration_seconds",
            "Time until changes were on the disk; those that came meanwhile share the next commit",
            &metrics.commits,
        );
        to.register(
            "store_failures",
            "Commits that failed: writes are refused with STORE_UNAVAILABLE until one succeeds",
            &metrics.failures,
        );
        to.register("store_bytes", "Size of the store's file", &metrics.bytes);
        metrics
    }
}
