//! What is counted of the keys of issuers.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::SystemTime,
};

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::telemetry::{Registry, label_values, labels};

/// The metrics of the keys of all issuers. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct AuthMetrics {
    reads: Family<ReadLabels, Counter>,
    read_at: Family<IssuerLabels, Gauge<f64, AtomicU64>>,
}

labels! {
    struct ReadLabels { issuer: Arc<str>, outcome: Outcome }
}

labels! {
    struct IssuerLabels { issuer: Arc<str> }
}

label_values! {
    /// How a read of keys ended.
    pub(super) enum Outcome {
        /// They are as before.
        Unchanged = "unchanged",
        /// They are the first ones, or others.
        Changed = "changed",
        /// They cannot be used.
        Failed = "failed",
    }
}

impl AuthMetrics {
    /// All at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register(
            "jwks_reads",
            "Reads of the keys of an issuer, from its file or its URL",
            &metrics.reads,
        );
        to.register(
            "jwks_read_timestamp_seconds",
            "When the keys of an issuer were last read and could be used, since 1970",
            &metrics.read_at,
        );
        metrics
    }

    /// Counts a read of the keys of an issuer.
    pub(super) fn read(&self, issuer: &Arc<str>, outcome: Outcome) {
        let labels = ReadLabels { issuer: Arc::clone(issuer), outcome };
        self.reads.get_or_create_owned(&labels).inc();
        if outcome != Outcome::Failed {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let labels = IssuerLabels { issuer: Arc::clone(issuer) };
            self.read_at.get_or_create_owned(&labels).set(now.as_secs_f64());
        }
    }
}
