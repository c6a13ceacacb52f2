//! The metric of levers.

use std::sync::Arc;

use prometheus_client::metrics::{family::Family, gauge::Gauge};

use super::lever::Lever;
use crate::telemetry::{Registry, labels};

/// The backend of a lever of the process.
const EVERY: &str = "-";

/// Which levers are in force. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LeverMetrics {
    active: Family<LeverLabels, Gauge>,
}

labels! {
    struct LeverLabels { lever: Lever, backend: Arc<str> }
}

impl LeverMetrics {
    /// The metric without any lever.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "1 while an operator has set this lever, or else 0; the backend is `-` for a \
                    lever of the process";
        to.register("lever_active", help, &metrics.active);
        metrics
    }

    /// Says whether a lever is in force.
    pub(super) fn measured(&self, lever: Lever, backend: Option<&Arc<str>>, active: bool) {
        let backend = backend.map_or_else(|| EVERY.into(), Arc::clone);
        self.active.get_or_create(&LeverLabels { lever, backend }).set(active.into());
    }
}
