//! Logs and metrics: where they go and what they are called.
//!
//! Knows nothing of the rest of the program: whatever happens is told to it as plain data.

pub mod cache;
mod lines;
pub mod logs;
pub mod metrics;
pub mod panics;
mod settings;
mod sink;
pub mod upstream;
pub mod watch;

pub use settings::LogSettings;
