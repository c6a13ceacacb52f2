//! Metrics of change streams.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::telemetry::{BackendLabels, Ended, Registry, labels};

type Seconds = Gauge<f64, AtomicU64>;

/// The metrics of all backends.
#[derive(Debug, Clone)]
pub struct WatchMetrics {
    watchers: Family<BackendLabels, Gauge>,
    dropped: Family<BackendLabels, Counter>,
    polls: Family<PollLabels, Counter>,
    interval: Family<BackendLabels, Seconds>,
}

labels! {
    struct PollLabels { backend: Arc<str>, outcome: Ended }
}

/// The metrics of one backend, looked up once.
#[derive(Debug, Clone)]
pub struct BackendWatchMetrics {
    watchers: Gauge,
    dropped: Counter,
    succeeded: Counter,
    failed: Counter,
    interval: Seconds,
}

impl WatchMetrics {
    /// Registers the metrics, all at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self {
            watchers: Family::default(),
            dropped: Family::default(),
            polls: Family::default(),
            interval: Family::default(),
        };
        to.register("watchers", "Streams of changes that are open", &metrics.watchers);
        to.register(
            "watchers_dropped",
            "Streams of changes that were ended because they were read too slowly",
            &metrics.dropped,
        );
        to.register("watch_polls", "Lists that were read for streams of changes", &metrics.polls);
        to.register(
            "watch_interval_seconds",
            "Time between two polls for changes, 0 if none is due; longer than configured if \
             the vendor's limits leave no room for more",
            &metrics.interval,
        );
        metrics
    }

    /// The metrics of one backend, by its configured name.
    #[must_use]
    pub fn backend(&self, name: &Arc<str>) -> BackendWatchMetrics {
        let labels = BackendLabels { backend: Arc::clone(name) };
        let polls = |outcome| {
            let labels = PollLabels { backend: Arc::clone(name), outcome };
            self.polls.get_or_create_owned(&labels)
        };
        BackendWatchMetrics {
            watchers: self.watchers.get_or_create_owned(&labels),
            dropped: self.dropped.get_or_create_owned(&labels),
            succeeded: polls(Ended::Ok),
            failed: polls(Ended::Failed),
            interval: self.interval.get_or_create_owned(&labels),
        }
    }
}

impl BackendWatchMetrics {
    /// A stream was opened, or has ended.
    pub(super) fn watching(&self, more: bool) {
        if more {
            self.watchers.inc();
        } else {
            self.watchers.dec();
        }
    }

    /// A stream was ended because it was read too slowly.
    pub(super) fn dropped(&self) {
        self.dropped.inc();
    }

    /// Sets the time between two polls.
    pub(super) fn interval(&self, interval: Duration) {
        self.interval.set(interval.as_secs_f64());
    }

    /// A poll is over.
    pub(super) fn polled(&self, succeeded: bool) {
        let counter = if succeeded { &self.succeeded } else { &self.failed };
        counter.inc();
    }
}
