//! What the log and the audit log count: lines that they do not have.

use std::sync::{Arc, LazyLock};

use prometheus_client::metrics::{counter::Counter, family::Family};

use super::{
    backend::BackendLabels,
    labels::{label_values, labels, start, start_all},
    registry::Registry,
};

/// The metrics of the log. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct LogMetrics {
    left_out: Family<LineLabels, Counter>,
    audit_left_out: Counter,
}

label_values! {
    /// Which lines.
    pub(crate) enum Kind {
        /// Of the access log.
        Access = "access",
        /// All others.
        Other = "other",
    }
}

label_values! {
    /// Why they were left out.
    pub(crate) enum Cause {
        /// Too many were waiting to be written.
        Full = "full",
        /// They could not be written.
        Failed = "failed",
        /// Their caller had too many.
        Rate = "rate",
    }
}

labels! {
    struct LineLabels { log: Kind, cause: Cause }
}

/// The metrics of the audit log. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct AuditMetrics {
    pub(super) refused: Counter,
    pub(super) lost: Counter,
    unknown: Family<BackendLabels, Counter>,
}

impl AuditMetrics {
    /// All at zero.
    #[must_use]
    pub fn register(to: &mut Registry) -> Self {
        let metrics = Self::default();
        to.register(
            "audit_refused",
            "Writes that were not sent because they could not be journaled",
            &metrics.refused,
        );
        to.register(
            "audit_lines_lost",
            "Lines about writes that are over, for which the audit log had no room",
            &metrics.lost,
        );
        to.register(
            "unknown_outcomes",
            "Writes that ended before it was known whether they took effect",
            &metrics.unknown,
        );
        metrics
    }

    /// Counts the writes to this backend from now on.
    pub(crate) fn start(&self, backend: &Arc<str>) {
        start(&self.unknown, backend);
    }

    pub(super) fn unknown_outcome(&self, backend: &str) {
        self.unknown.get_or_create(&BackendLabels { backend: backend.into() }).inc();
    }
}

/// The log is the process's, and so are its metrics.
static METRICS: LazyLock<LogMetrics> = LazyLock::new(LogMetrics::default);

impl LogMetrics {
    /// Those of the process.
    #[must_use]
    pub fn of_the_process() -> Self {
        METRICS.clone()
    }

    /// Exports them.
    pub fn register(&self, to: &mut Registry) {
        to.register("log_lines_left_out", "Lines that the log does not have", &self.left_out);
        to.register(
            "audit_lines_left_out",
            "Lines about writes that sent nothing, and about calls that were denied, of callers \
             that had too many",
            &self.audit_left_out,
        );
        start_all(&self.left_out);
    }

    /// Counts lines about calls of a caller that has too many.
    #[must_use]
    pub fn over_rate(&self) -> Counter {
        let labels = LineLabels { log: Kind::Access, cause: Cause::Rate };
        self.left_out.get_or_create_owned(&labels)
    }

    /// Counts lines about writes that sent nothing, and about calls that were denied, of a caller
    /// that has too many.
    #[must_use]
    pub fn audit_over_rate(&self) -> Counter {
        self.audit_left_out.clone()
    }

    pub(crate) fn left_out(&self, log: Kind, cause: Cause, number: u64) {
        if number > 0 {
            self.left_out.get_or_create(&LineLabels { log, cause }).inc_by(number);
        }
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        let mut registry = Registry::new("");
        self.register(&mut registry);
        registry.encode()
    }
}
