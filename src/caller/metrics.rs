//! What is counted of callers. No label names one but those that the configuration names: the
//! number of the others has no useful bound.

use std::sync::Arc;

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::resource::{NamedQuota, Resource};
use crate::telemetry::{Registry, label_values, labels};

/// The metrics of all callers. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct CallerMetrics {
    callers: Gauge,
    refusals: Family<RefusalLabels, Counter>,
    named_calls: Family<CallLabels, Counter>,
    named_in_flight: Family<NamedLabels, Gauge>,
    named_upstream_requests: Family<NamedLabels, Counter>,
    named_refusals: Family<QuotaLabels, Counter>,
}

labels! {
    struct RefusalLabels { resource: Resource, bound: Bound }
}

labels! {
    struct NamedLabels { caller: Arc<str> }
}

labels! {
    struct CallLabels { caller: Arc<str>, code: &'static str }
}

labels! {
    struct QuotaLabels { caller: Arc<str>, quota: NamedQuota }
}

label_values! {
    /// Which bound refused.
    pub(super) enum Bound {
        /// That of the caller.
        Caller = "caller",
        /// That of all callers together.
        All = "all",
    }
}

impl CallerMetrics {
    /// All at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register("callers", "Callers that are told apart", &metrics.callers);
        to.register(
            "caller_refusals",
            "What was refused because its caller, or all callers together, held too much of a \
             resource",
            &metrics.refusals,
        );
        to.register(
            "caller_calls",
            "Calls of a caller that the configuration names, which are over",
            &metrics.named_calls,
        );
        to.register(
            "caller_calls_in_flight",
            "Calls of such a caller that have a place",
            &metrics.named_in_flight,
        );
        to.register(
            "caller_upstream_requests",
            "Requests that calls of such a caller have cost upstreams",
            &metrics.named_upstream_requests,
        );
        to.register(
            "caller_quota_refusals",
            "What was refused to such a caller because of its own quota",
            &metrics.named_refusals,
        );
        metrics
    }

    pub(super) fn known(&self, callers: usize) {
        self.callers.set(i64::try_from(callers).unwrap_or(i64::MAX));
    }

    /// The counter of the calls of a named caller that ended so.
    pub(super) fn named_calls(&self, caller: &Arc<str>, code: &'static str) -> Counter {
        let labels = CallLabels { caller: Arc::clone(caller), code };
        self.named_calls.get_or_create_owned(&labels)
    }

    /// So many calls of a named caller have a place.
    pub(super) fn named_in_flight(&self, caller: &Arc<str>, calls: usize) {
        let labels = NamedLabels { caller: Arc::clone(caller) };
        let gauge = self.named_in_flight.get_or_create_owned(&labels);
        gauge.set(i64::try_from(calls).unwrap_or(i64::MAX));
    }

    /// The counter of the requests that a named caller has cost.
    pub(super) fn named_upstream_requests(&self, caller: &Arc<str>) -> Counter {
        let labels = NamedLabels { caller: Arc::clone(caller) };
        self.named_upstream_requests.get_or_create_owned(&labels)
    }

    /// Counts what a quota of a named caller has refused.
    pub(super) fn named_refusal(&self, caller: &Arc<str>, quota: NamedQuota) {
        let labels = QuotaLabels { caller: Arc::clone(caller), quota };
        self.named_refusals.get_or_create_owned(&labels).inc();
    }

    /// The counter of one resource and one bound. Looked up once: a lookup hashes and locks.
    pub(super) fn refusals(&self, resource: Resource, bound: Bound) -> Counter {
        self.refusals.get_or_create_owned(&RefusalLabels { resource, bound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_exported_under_its_name() {
        let mut registry = Registry::new("1.2.3");
        let metrics = CallerMetrics::register(&mut registry);
        metrics.known(3);
        metrics.refusals(Resource::Calls, Bound::Caller).inc();
        metrics.refusals(Resource::Streams, Bound::All);
        let text = registry.encode();
        for line in [
            "profile_gateway_callers 3",
            r#"profile_gateway_caller_refusals_total{resource="calls",bound="caller"} 1"#,
            r#"profile_gateway_caller_refusals_total{resource="streams",bound="all"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
