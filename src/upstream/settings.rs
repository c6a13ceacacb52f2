//! How a backend is called.

use std::time::Duration;

use super::{breaker::Thresholds, pace::RateLimit};

/// How a backend is called.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured name of the backend, for metrics.
    pub backend: String,
    /// What stands before the dialect's paths, without a slash at the end.
    pub base_url: String,
    /// Until a connection is there.
    pub connect_timeout: Duration,
    /// From the start of a request to the headers of its answer.
    pub header_timeout: Duration,
    /// The longest silence within an answer.
    pub body_timeout: Duration,
    /// From the start of a request to the end of its answer.
    pub request_timeout: Duration,
    /// Largest body that is read, after decompression.
    pub max_response_bytes: usize,
    /// Requests under way at once; more wait.
    pub max_concurrent_calls: usize,
    /// Requests that wait; more are turned away.
    pub max_queued_calls: usize,
    /// How often a request is sent at most, where it may go again.
    pub max_attempts: u32,
    /// When to stop sending for a while; `None` for never.
    pub circuit: Option<Thresholds>,
    /// What the vendor allows, if it says so; requests above it wait until their deadline.
    pub rate_limit: Option<RateLimit>,
}
