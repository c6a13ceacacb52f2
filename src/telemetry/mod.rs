//! Logs, and the machinery of metrics: the registry, labels and buckets.
//!
//! Knows nothing of the rest of the program: each room registers and counts its own metrics, in a
//! file `metrics.rs`.

mod backend;
pub(crate) mod buckets;
mod labels;
mod lines;
pub mod logs;
pub mod panics;
mod registry;
mod settings;
mod sink;

pub(crate) use backend::{BackendLabels, Ended};
pub use labels::{LabelValue, Labels};
pub(crate) use labels::{label_value, label_values, labels};
pub use registry::{CONTENT_TYPE, Described, Registry};
pub use settings::LogSettings;
