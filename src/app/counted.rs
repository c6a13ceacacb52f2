//! What upstreams, caches and streams tell, counted in the metrics.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    cache::{self, Outcome},
    gateway::watch,
    server::Health,
    telemetry::{
        cache::BackendCache, metrics::Metrics, upstream::BackendMetrics, watch::BackendWatch,
    },
    upstream::{Circuit, Notice, Observer},
};

/// Requests to one upstream, counted in the metrics; its circuit also goes to the health service.
pub(super) struct Counted {
    pub(super) metrics: Arc<Metrics>,
    pub(super) backend: BackendMetrics,
    pub(super) health: Arc<OnceLock<Health>>,
    pub(super) id: String,
}

impl Observer for Counted {
    fn request(
        &self,
        backend: &str,
        operation: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        self.metrics.upstream_request(backend, operation, outcome, took);
    }

    fn login(&self, backend: &str, outcome: &'static str) {
        self.metrics.upstream_login(backend, outcome);
    }

    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Retried(operation) => self.backend.retried(operation),
            Notice::BudgetSpent => self.backend.budget_spent(),
            Notice::Shed(why) => self.backend.shed(why.name()),
            Notice::Queued(more) => self.backend.queued(more),
            Notice::InFlight(more) => self.backend.in_flight(more),
            Notice::Throttled => self.backend.throttled(),
            Notice::Rate(rate) => self.backend.rate(rate),
            Notice::Circuit(circuit) => {
                self.backend.circuit(match circuit {
                    Circuit::Closed => "closed",
                    Circuit::HalfOpen => "half_open",
                    Circuit::Open => "open",
                });
                if let Some(health) = self.health.get() {
                    // Half open serves: a client that is kept away could not be the trial.
                    health.set_backend(&self.id, circuit != Circuit::Open);
                }
            }
        }
    }
}

/// Streams of changes, counted in the metrics.
pub(super) struct CountedWatch(pub(super) BackendWatch);

impl watch::Observer for CountedWatch {
    fn watching(&self, more: bool) {
        self.0.watching(more);
    }

    fn dropped(&self) {
        self.0.dropped();
    }

    fn polled(&self, succeeded: bool) {
        self.0.looked(succeeded);
    }
}

/// What a cache does, counted in the metrics.
pub(super) struct CountedCache(pub(super) BackendCache);

impl cache::Observer for CountedCache {
    fn read(&self, outcome: Outcome, negative: bool) {
        self.0.read(if negative { "negative" } else { outcome.name() });
    }

    fn load(&self, took: Duration, succeeded: bool) {
        self.0.load(took, succeeded);
    }

    fn rejected_fill(&self) {
        self.0.rejected_fill();
    }
}
