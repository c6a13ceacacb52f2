//! What the caches of the backends count. Labels are the configured backends and a few words.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::metrics::SECONDS;

/// How a read was answered, as a label.
const RESULTS: [&str; 6] = ["hit", "negative", "miss", "coalesced", "stale", "bypass"];

/// The counts of all caches.
#[derive(Clone)]
pub(super) struct CacheMetrics {
    reads: Family<ReadLabels, Counter>,
    rejected_fills: Family<BackendLabels, Counter>,
    load_duration: Family<LoadLabels, Histogram>,
    entries: Family<BackendLabels, Gauge>,
    bytes: Family<BackendLabels, Gauge>,
    sizes: Arc<Mutex<Vec<Measured>>>,
}

/// One cache, and how to ask for its entries and bytes.
type Measured = (BackendLabels, Box<Size>);
type Size = dyn Fn() -> (u64, u64) + Send + Sync;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    backend: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    backend: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoadLabels {
    backend: String,
    outcome: &'static str,
}

/// The counts of one cache, found once: a hit costs an atomic addition.
#[derive(Debug, Clone)]
pub struct BackendCache {
    reads: [Counter; RESULTS.len()],
    rejected_fills: Counter,
    loaded: Histogram,
    failed: Histogram,
}

impl CacheMetrics {
    pub(super) fn new() -> Self {
        Self {
            reads: Family::default(),
            rejected_fills: Family::default(),
            load_duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            entries: Family::default(),
            bytes: Family::default(),
            sizes: Arc::default(),
        }
    }

    pub(super) fn register(&self, to: &mut Registry) {
        to.register("cache_reads", "Reads by how they were answered", self.reads.clone());
        to.register(
            "cache_rejected_fills",
            "Values that were not kept because a write or a purge came between",
            self.rejected_fills.clone(),
        );
        to.register(
            "cache_load_duration_seconds",
            "Time of reading the upstream for the cache",
            self.load_duration.clone(),
        );
        to.register("cache_entries", "Entries in the cache", self.entries.clone());
        to.register("cache_bytes", "Bytes of the cache's entries", self.bytes.clone());
    }

    pub(super) fn backend(&self, backend: &str) -> BackendCache {
        let backend = || backend.to_owned();
        let label = BackendLabels { backend: backend() };
        let load = |outcome| {
            self.load_duration.get_or_create_owned(&LoadLabels { backend: backend(), outcome })
        };
        BackendCache {
            reads: RESULTS.map(|result| {
                self.reads.get_or_create_owned(&ReadLabels { backend: backend(), result })
            }),
            rejected_fills: self.rejected_fills.get_or_create_owned(&label),
            loaded: load("ok"),
            failed: load("failed"),
        }
    }

    pub(super) fn watch(&self, backend: &str, size: Box<Size>) {
        let label = BackendLabels { backend: backend.to_owned() };
        self.sizes.lock().push((label, size));
    }

    /// Asks every cache for its size.
    pub(super) fn measure(&self) {
        let value = |n| i64::try_from(n).unwrap_or(i64::MAX);
        for (label, size) in self.sizes.lock().iter() {
            let (entries, bytes) = size();
            self.entries.get_or_create(label).set(value(entries));
            self.bytes.get_or_create(label).set(value(bytes));
        }
    }
}

impl fmt::Debug for CacheMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheMetrics").finish_non_exhaustive()
    }
}

impl BackendCache {
    /// A read was answered; `result` is one of `hit`, `negative`, `miss`, `coalesced`, `stale` and
    /// `bypass`.
    pub fn read(&self, result: &str) {
        let counters = RESULTS.iter().zip(&self.reads);
        if let Some((_, counter)) = { counters }.find(|(known, _)| **known == result) {
            counter.inc();
        }
    }

    /// A load is over.
    pub fn load(&self, took: Duration, succeeded: bool) {
        let histogram = if succeeded { &self.loaded } else { &self.failed };
        histogram.observe(took.as_secs_f64());
    }

    /// A value was not kept.
    pub fn rejected_fill(&self) {
        self.rejected_fills.inc();
    }
}
