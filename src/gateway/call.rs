//! What one gRPC call carries through the gateway: its deadline, and what the access log will say.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use tokio::time::Instant;

/// One gRPC call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Call {
    /// When the answer has to be ready: a little before the caller stops waiting.
    pub deadline: Instant,
    /// What is learned on the way.
    pub record: Arc<Record>,
}

/// What is learned of a call on its way, for the access log and the metrics.
#[derive(Debug, Default)]
pub struct Record {
    backend: OnceLock<String>,
    upstream_calls: Arc<AtomicU32>,
}

impl Record {
    /// Names the configured backend that the call is for. The first name stays.
    pub fn set_backend(&self, id: &str) {
        // A second set is a call that touches several backends: the first is the one asked for.
        let _ = self.backend.set(id.to_owned());
    }

    /// The configured backend that the call is for; `-` for all of them.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        self.backend.get().map(String::as_str)
    }

    /// Raised for each request to an upstream.
    #[must_use]
    pub fn counter(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.upstream_calls)
    }

    /// Requests to upstreams so far, logins included.
    #[must_use]
    pub fn upstream_calls(&self) -> u32 {
        self.upstream_calls.load(Ordering::Relaxed)
    }
}
