//! Metrics of the caches.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use super::served::Outcome;
use crate::telemetry::{BackendLabels, Ended, Registry, buckets::SECONDS, label_value, labels};

/// The metrics of all caches. Clones share them.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    reads: Family<ReadLabels, Counter>,
    rejected_fills: Family<BackendLabels, Counter>,
    undeleted_profiles: Family<BackendLabels, Counter>,
    too_large: Family<BackendLabels, Counter>,
    load_duration: Family<LoadLabels, Histogram>,
    sizes: Arc<Sizes>,
}

/// The metrics of one cache, looked up once, so that a hit costs one atomic addition.
#[derive(Debug, Clone)]
pub struct BackendCacheMetrics {
    hit: Counter,
    negative: Counter,
    miss: Counter,
    coalesced: Counter,
    stale: Counter,
    bypass: Counter,
    rejected_fills: Counter,
    undeleted_profiles: Counter,
    too_large: Counter,
    loaded: Histogram,
    failed: Histogram,
    labels: BackendLabels,
    sizes: Arc<Sizes>,
}

/// The sizes of all caches, measured when the metrics are read.
#[derive(Default)]
struct Sizes {
    entries: Family<BackendLabels, Gauge>,
    bytes: Family<BackendLabels, Gauge>,
    measured: Mutex<Vec<(BackendLabels, Weak<dyn Measured>)>>,
}

/// Something whose entries and bytes can be measured.
pub(super) trait Measured: Send + Sync + 'static {
    fn size(&self) -> (u64, u64);
}

labels! {
    struct ReadLabels { backend: Arc<str>, result: ReadResult }
}

labels! {
    struct LoadLabels { backend: Arc<str>, outcome: Ended }
}

/// How a read was answered; `None` if the cache knew that the profile does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ReadResult(Option<Outcome>);

const NEGATIVE: &str = "negative";

impl ReadResult {
    fn name(self) -> &'static str {
        self.0.map_or(NEGATIVE, Outcome::name)
    }
}

label_value!(
    ReadResult,
    [
        Outcome::Hit.name(),
        NEGATIVE,
        Outcome::Miss.name(),
        Outcome::Coalesced.name(),
        Outcome::Stale.name(),
        Outcome::Bypass.name()
    ],
    [
        Self(Some(Outcome::Hit)),
        Self(None),
        Self(Some(Outcome::Miss)),
        Self(Some(Outcome::Coalesced)),
        Self(Some(Outcome::Stale)),
        Self(Some(Outcome::Bypass))
    ]
);

impl CacheMetrics {
    /// All metrics at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self {
            reads: Family::default(),
            rejected_fills: Family::default(),
            undeleted_profiles: Family::default(),
            too_large: Family::default(),
            load_duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            sizes: Arc::default(),
        };
        to.register("cache_reads", "Reads by how they were answered", &metrics.reads);
        to.register(
            "cache_rejected_fills",
            "Values that were not kept because a write or a purge came in between",
            &metrics.rejected_fills,
        );
        to.register(
            "cache_undeleted_profiles",
            "Profiles that a read found although their deletion was acknowledged",
            &metrics.undeleted_profiles,
        );
        to.register(
            "cache_too_large",
            "Profiles that were not kept because they are too large",
            &metrics.too_large,
        );
        to.register(
            "cache_load_duration_seconds",
            "Time to read the upstream for the cache",
            &metrics.load_duration,
        );
        to.register("cache_entries", "Entries in the cache", &metrics.sizes.entries);
        to.register("cache_bytes", "Bytes of the cache's entries", &metrics.sizes.bytes);
        let sizes = Arc::clone(&metrics.sizes);
        to.before_scrape(move || sizes.measure());
        metrics
    }

    /// The metrics of one backend's cache, by its configured name.
    #[must_use]
    pub fn backend(&self, name: &Arc<str>) -> BackendCacheMetrics {
        let read = |outcome| {
            let result = ReadResult(outcome);
            self.reads.get_or_create_owned(&ReadLabels { backend: Arc::clone(name), result })
        };
        let load = |outcome| {
            let labels = LoadLabels { backend: Arc::clone(name), outcome };
            self.load_duration.get_or_create_owned(&labels)
        };
        let labels = BackendLabels { backend: Arc::clone(name) };
        BackendCacheMetrics {
            hit: read(Some(Outcome::Hit)),
            negative: read(None),
            miss: read(Some(Outcome::Miss)),
            coalesced: read(Some(Outcome::Coalesced)),
            stale: read(Some(Outcome::Stale)),
            bypass: read(Some(Outcome::Bypass)),
            rejected_fills: self.rejected_fills.get_or_create_owned(&labels),
            undeleted_profiles: self.undeleted_profiles.get_or_create_owned(&labels),
            too_large: self.too_large.get_or_create_owned(&labels),
            loaded: load(Ended::Ok),
            failed: load(Ended::Failed),
            labels,
            sizes: Arc::clone(&self.sizes),
        }
    }
}

impl Sizes {
    fn measure(&self) {
        let value = |n| i64::try_from(n).unwrap_or(i64::MAX);
        let mut all = self.measured.lock();
        // Those of backends that were replaced are gone.
        all.retain(|(_, measured)| measured.strong_count() > 0);
        for (labels, measured) in all.iter() {
            if let Some(measured) = measured.upgrade() {
                let (entries, bytes) = measured.size();
                self.entries.get_or_create(labels).set(value(entries));
                self.bytes.get_or_create(labels).set(value(bytes));
            }
        }
    }
}

impl fmt::Debug for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sizes").finish_non_exhaustive()
    }
}

impl BackendCacheMetrics {
    /// A read was answered. `negative`: the cache knew that the profile does not exist.
    pub(super) fn read(&self, outcome: Outcome, negative: bool) {
        let counter = match outcome {
            _ if negative => &self.negative,
            Outcome::Hit => &self.hit,
            Outcome::Miss => &self.miss,
            Outcome::Coalesced => &self.coalesced,
            Outcome::Stale => &self.stale,
            Outcome::Bypass => &self.bypass,
        };
        counter.inc();
    }

    /// A load ended.
    pub(super) fn load(&self, took: Duration, succeeded: bool) {
        let histogram = if succeeded { &self.loaded } else { &self.failed };
        histogram.observe(took.as_secs_f64());
    }

    /// A value was not kept, because of a write or purge during its load.
    pub(super) fn rejected_fill(&self) {
        self.rejected_fills.inc();
    }

    /// A profile was not kept, because it is too large.
    pub(super) fn too_large(&self) {
        self.too_large.inc();
    }

    /// A read found a profile although its deletion was acknowledged and has had time to show.
    pub(super) fn undeleted(&self, id: &str) {
        self.undeleted_profiles.inc();
        tracing::warn!(
            target: "gateway",
            name = format!("backends/{}/profiles/{id}", self.labels.backend),
            "an acknowledged deletion did not show"
        );
    }

    /// Measures the size of the cache whenever the metrics are read.
    pub(super) fn measure(&self, cache: Weak<dyn Measured>) {
        self.sizes.measured.lock().push((self.labels.clone(), cache));
    }

    #[cfg(test)]
    pub(super) fn negatives(&self) -> u64 {
        self.negative.get()
    }

    #[cfg(test)]
    pub(super) fn rejected(&self) -> u64 {
        self.rejected_fills.get()
    }
}
