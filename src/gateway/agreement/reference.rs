//! How a request id is named.

use std::sync::Arc;

use crate::shared::protocol::Token;

/// A request id and an attempt at it.
#[derive(Debug, Clone)]
pub(crate) struct RequestRef {
    /// As all replicas call it.
    pub(crate) name: Arc<str>,
    /// What tells the same request from another one.
    pub(crate) fingerprint: Arc<str>,
    /// The attempt.
    pub(crate) attempt: Token,
}

impl RequestRef {
    /// A new attempt.
    pub(crate) fn new(name: Arc<str>, fingerprint: Arc<str>) -> Self {
        Self { name, fingerprint, attempt: Token(rand::random()) }
    }

    pub(super) fn attempt(&self) -> (Arc<str>, Token) {
        (Arc::clone(&self.name), self.attempt)
    }
}
