//! Logs, and the machinery of metrics: the registry, labels and buckets.
//!
//! Knows nothing of the rest of the program: each room registers and counts its own metrics, in a
//! file `metrics.rs`.

mod audit;
mod backend;
pub(crate) mod buckets;
mod exposition;
mod labels;
mod level;
mod lines;
pub mod logs;
mod metrics;
pub mod panics;
mod process;
mod record;
mod registry;
mod settings;
mod sink;

pub use audit::AuditLog;
pub(crate) use backend::{BackendLabels, Ended};
pub use exposition::Format;
pub use labels::{LabelValue, Labels};
pub(crate) use labels::{label_value, label_values, labels, start, start_all};
pub use metrics::{AuditMetrics, LogMetrics};
pub use process::ProcessMetrics;
pub use record::Record;
pub use registry::{Described, Registry};
pub use settings::{AuditSettings, AuditStream, LogSettings};

/// Writes what is not written yet of the log and of the audit log, unless that takes more than a
/// second or two. To be called at the end of the process, when nothing is left that could log.
pub fn finish() {
    // First, because it may have something to say in the log.
    audit::finish();
    logs::finish();
}
