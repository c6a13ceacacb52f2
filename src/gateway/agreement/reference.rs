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
    /// Whether a caller can repeat it.
    pub(crate) is_named: bool,
}

impl RequestRef {
    /// A new attempt.
    pub(crate) fn new(name: Arc<str>, fingerprint: Arc<str>, is_named: bool) -> Self {
        Self { name, fingerprint, attempt: Token(rand::random()), is_named }
    }

    pub(super) fn attempt(&self) -> (Arc<str>, Token) {
        (Arc::clone(&self.name), self.attempt)
    }
}
