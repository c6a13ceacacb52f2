//! What is counted of request ids, and of writes in doubt.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::telemetry::{BackendLabels, Registry, label_values, labels, start_all};

/// The metrics of the store. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RequestIdMetrics {
    entries: Gauge,
    refusals: Family<RefusalLabels, Counter>,
    doubts: Family<BackendLabels, Gauge>,
    /// Those that are not zero.
    in_doubt: Arc<Mutex<BTreeMap<Arc<str>, i64>>>,
    oldest: Gauge<f64, AtomicU64>,
    settled: Family<SettledLabels, Counter>,
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

labels! {
    struct SettledLabels { outcome: SettledAs }
}

label_values! {
    /// How a doubt has ended without its caller.
    pub enum SettledAs {
        /// The gateway has found that the write took effect.
        TookEffect = "took_effect",
        /// The gateway has found that it has no effect, and can have none any more.
        NoEffect = "no_effect",
        /// An operator has said that it took effect.
        ClosedAsDone = "closed_took_effect",
        /// An operator has said that it has no effect.
        ClosedAsFailed = "closed_no_effect",
        /// Its time was over.
        Dropped = "dropped",
    }
}

impl RequestIdMetrics {
    /// All at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register(
            "request_ids",
            "Writes that are under way, in doubt, or remembered by their `request_id`",
            &metrics.entries,
        );
        to.register(
            "request_id_refusals",
            "Writes that were not sent because there was no room to remember them",
            &metrics.refusals,
        );
        to.register("doubtful_writes", "Writes whose outcome is unknown", &metrics.doubts);
        to.register(
            "oldest_doubtful_write_age_seconds",
            "How long ago the oldest write ended whose outcome is unknown; 0 without any",
            &metrics.oldest,
        );
        to.register(
            "doubtful_writes_settled",
            "Writes of unknown outcome that the gateway itself or an operator has settled",
            &metrics.settled,
        );
        start_all(&metrics.refusals);
        start_all(&metrics.settled);
        metrics
    }

    pub(super) fn kept(&self, entries: usize) {
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// A backend, which has no write in doubt yet.
    pub fn backend(&self, name: &Arc<str>) {
        drop(self.doubts.get_or_create(&BackendLabels { backend: Arc::clone(name) }));
    }

    /// How many writes are in doubt now.
    pub(super) fn doubts(&self, now: BTreeMap<Arc<str>, i64>, oldest: Duration) {
        let mut in_doubt = self.in_doubt.lock();
        let set = |backend: &Arc<str>, count| {
            self.doubts.get_or_create(&BackendLabels { backend: Arc::clone(backend) }).set(count);
        };
        in_doubt.keys().for_each(|backend| set(backend, 0));
        now.iter().for_each(|(backend, count)| set(backend, *count));
        *in_doubt = now;
        self.oldest.set(oldest.as_secs_f64());
    }

    pub(super) fn settled(&self, outcome: SettledAs) {
        self.settled.get_or_create(&SettledLabels { outcome }).inc();
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
        let [one, other] = ["a", "b"].map(Arc::<str>::from);
        metrics.backend(&one);
        metrics.doubts([(Arc::clone(&other), 3)].into(), Duration::from_secs(7));
        metrics.settled(SettledAs::Dropped);
        let text = registry.encode();
        for line in [
            r#"profile_gateway_doubtful_writes{backend="a"} 0"#,
            r#"profile_gateway_doubtful_writes{backend="b"} 3"#,
            "profile_gateway_oldest_doubtful_write_age_seconds 7.0",
            r#"profile_gateway_doubtful_writes_settled_total{outcome="dropped"} 1"#,
            "profile_gateway_request_ids 2",
            r#"profile_gateway_request_id_refusals_total{bound="caller"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        metrics.doubts(BTreeMap::new(), Duration::ZERO);
        assert!(registry.encode().contains(r#"profile_gateway_doubtful_writes{backend="b"} 0"#));
    }
}
