//! What is counted around streams of changes. Labels are the configured backends and two words.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The counts of all backends.
#[derive(Debug, Default)]
pub struct WatchMetrics {
    watchers: Family<BackendLabels, Gauge>,
    dropped: Family<BackendLabels, Counter>,
    looks: Family<LookLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    backend: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookLabels {
    backend: String,
    outcome: &'static str,
}

/// Those of one backend, looked up once.
#[derive(Debug)]
pub struct BackendWatch {
    watchers: Gauge,
    dropped: Counter,
    succeeded: Counter,
    failed: Counter,
}

impl WatchMetrics {
    /// The counts of one backend.
    #[must_use]
    pub fn backend(&self, backend: &str) -> BackendWatch {
        let label = BackendLabels { backend: backend.to_owned() };
        let looks = |outcome| {
            let labels = LookLabels { backend: backend.to_owned(), outcome };
            self.looks.get_or_create_owned(&labels)
        };
        BackendWatch {
            watchers: self.watchers.get_or_create_owned(&label),
            dropped: self.dropped.get_or_create_owned(&label),
            succeeded: looks("ok"),
            failed: looks("failed"),
        }
    }

    pub(super) fn register(&self, to: &mut Registry) {
        to.register("watchers", "Streams of changes that are open", self.watchers.clone());
        to.register(
            "watchers_dropped",
            "Streams of changes that were ended because they were read too slowly",
            self.dropped.clone(),
        );
        to.register(
            "watch_polls",
            "Lists that were read for streams of changes",
            self.looks.clone(),
        );
    }
}

impl BackendWatch {
    /// A stream began, or ended.
    pub fn watching(&self, more: bool) {
        if more {
            self.watchers.inc();
        } else {
            self.watchers.dec();
        }
    }

    /// A stream was ended because it was read too slowly.
    pub fn dropped(&self) {
        self.dropped.inc();
    }

    /// The backend was listed.
    pub fn looked(&self, succeeded: bool) {
        let counter = if succeeded { &self.succeeded } else { &self.failed };
        counter.inc();
    }
}
