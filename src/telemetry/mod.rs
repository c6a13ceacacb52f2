//! Logs and metrics: where they go and what they are called.
//!
//! Knows nothing of the rest of the program: whatever happens is told to it as plain data.

pub mod cache;
pub mod logs;
pub mod metrics;
pub mod panics;
