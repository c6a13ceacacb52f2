//! What is counted of callers. No label names one, because their number has no useful bound.

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::resource::Resource;
use crate::telemetry::{Registry, label_values, labels};

/// The metrics of all callers. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct CallerMetrics {
    callers: Gauge,
    refusals: Family<RefusalLabels, Counter>,
}

labels! {
    struct RefusalLabels { resource: Resource, bound: Bound }
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
        metrics
    }

    pub(super) fn known(&self, callers: usize) {
        self.callers.set(i64::try_from(callers).unwrap_or(i64::MAX));
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
