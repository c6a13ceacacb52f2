//! What is counted of the budget.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::metrics::{family::Family, gauge::Gauge};

use super::part::Part;
use crate::telemetry::{Registry, labels};

labels! {
    struct PartLabels { part: Part }
}

/// What gives the bytes in use.
type Used = Box<dyn Fn() -> usize + Send + Sync>;

/// The metrics of the budget. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryMetrics {
    used: Family<PartLabels, Gauge>,
    limit: Family<PartLabels, Gauge>,
    measured: Arc<Mutex<Vec<(Part, Used)>>>,
}

impl MemoryMetrics {
    /// All metrics at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics =
            Self { used: Family::default(), limit: Family::default(), measured: Arc::default() };
        to.register("memory_used_bytes", "Bytes taken of each part of the budget", &metrics.used);
        to.register("memory_limit_bytes", "Bytes of each part of the budget", &metrics.limit);
        let measured = metrics.clone();
        to.before_scrape(move || {
            for part in Part::ALL {
                let all = measured.measured.lock();
                let used = all.iter().filter(|(of, _)| *of == part).map(|(_, used)| used());
                measured.used.get_or_create(&PartLabels { part }).set(gauge(used.sum()));
            }
        });
        metrics
    }

    /// Says how many bytes a part has.
    pub(super) fn limit(&self, part: Part, limit: usize) {
        self.limit.get_or_create(&PartLabels { part }).set(gauge(limit));
    }

    /// Adds to what is used of a part, whenever the metrics are read.
    pub fn measure(&self, part: Part, used: impl Fn() -> usize + Send + Sync + 'static) {
        self.measured.lock().push((part, Box::new(used)));
    }
}

impl fmt::Debug for MemoryMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryMetrics").finish_non_exhaustive()
    }
}

fn gauge(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
