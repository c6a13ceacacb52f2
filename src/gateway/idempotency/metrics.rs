//! What is counted of request ids.

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::telemetry::{Registry, label_values, labels};

/// The metrics of the store. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RequestIdMetrics {
    entries: Gauge,
    refusals: Family<RefusalLabels, Counter>,
}

labels! {
    struct RefusalLabels { bound: Bound }
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

impl RequestIdMetrics {
    /// All at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register(
            "request_ids",
            "Writes with a `request_id` that are under way or remembered",
            &metrics.entries,
        );
        to.register(
            "request_id_refusals",
            "Writes that were not sent because there was no room for their `request_id`",
            &metrics.refusals,
        );
        metrics
    }

    pub(super) fn kept(&self, entries: usize) {
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    pub(super) fn refused(&self, bound: Bound) {
        self.refusals.get_or_create(&RefusalLabels { bound }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_exported_under_its_name() {
        let mut registry = Registry::new("1.2.3");
        let metrics = RequestIdMetrics::register(&mut registry);
        metrics.kept(2);
        metrics.refused(Bound::Caller);
        let text = registry.encode();
        for line in [
            "profile_gateway_request_ids 2",
            r#"profile_gateway_request_id_refusals_total{bound="caller"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
