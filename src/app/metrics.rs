//! The metrics of all rooms, registered in one place.

use prometheus_client::metrics::gauge::Gauge;

use super::reload::ReloadMetrics;
use crate::{
    auth::AuthMetrics,
    cache::CacheMetrics,
    caller::{CallerMetrics, Callers},
    gateway::{idempotency::RequestIdMetrics, watch::WatchMetrics},
    levers::LeverMetrics,
    resources::MemoryMetrics,
    server::{Health, ServerMetrics},
    shared::SharedMetrics,
    store::StoreMetrics,
    telemetry::{AuditMetrics, LogMetrics, ProcessMetrics, Registry},
    upstream::UpstreamMetrics,
};

/// The metrics of all rooms.
pub(super) struct Metrics {
    pub(super) server: ServerMetrics,
    pub(super) callers: CallerMetrics,
    pub(super) auth: AuthMetrics,
    pub(super) upstream: UpstreamMetrics,
    pub(super) cache: CacheMetrics,
    pub(super) watch: WatchMetrics,
    pub(super) memory: MemoryMetrics,
    pub(super) request_ids: RequestIdMetrics,
    pub(super) audit: AuditMetrics,
    pub(super) store: StoreMetrics,
    pub(super) shared: SharedMetrics,
    pub(super) levers: LeverMetrics,
    pub(super) reload: ReloadMetrics,
    /// Whether an embedded sandbox simulates the upstreams.
    pub(super) sandbox: Gauge,
}

impl Metrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        ProcessMetrics::register(to);
        LogMetrics::of_the_process().register(to);
        let sandbox = Gauge::default();
        to.register(
            "sandbox",
            "1 if an embedded sandbox simulates the upstreams, or else 0",
            &sandbox,
        );
        Self {
            server: ServerMetrics::register(to),
            callers: CallerMetrics::register(to),
            auth: AuthMetrics::register(to),
            upstream: UpstreamMetrics::register(to),
            cache: CacheMetrics::register(to),
            watch: WatchMetrics::register(to),
            memory: MemoryMetrics::register(to),
            request_ids: RequestIdMetrics::register(to),
            audit: AuditMetrics::register(to),
            store: StoreMetrics::register(to),
            shared: SharedMetrics::register(to),
            levers: LeverMetrics::register(to),
            reload: ReloadMetrics::register(to),
            sandbox,
        }
    }

    /// The same of a gateway over an embedded sandbox, or over none.
    pub(super) fn over(self, sandbox: bool) -> Self {
        self.sandbox.set(sandbox.into());
        self
    }
}

/// Lets the metric of callers count those that are there.
pub(super) fn count_callers(registry: &mut Registry, callers: Callers) {
    registry.before_scrape(move || {
        callers.forget_idle();
        callers.measure_named();
    });
}

/// Lets the metric of readiness say what `/readyz` says.
pub(super) fn measure_readiness(registry: &mut Registry, metrics: &Metrics, health: Health) {
    metrics.server.measure_readiness(move || health.is_ready(), registry);
}

/// The reference of all metrics, as Markdown for `docs/reference/metrics.md`.
#[doc(hidden)]
#[must_use]
pub fn metrics_reference() -> String {
    let mut registry = Registry::new("");
    Metrics::register(&mut registry);
    registry.reference()
}
