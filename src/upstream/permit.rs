//! What has to allow each request that may change something.

use crate::error::Result;

/// Says whether a request that may change something may still be sent. Asked right before each one,
/// after all that it has waited for.
pub trait Permit: Send + Sync {
    /// Fails if nothing may be sent any more.
    ///
    /// # Errors
    ///
    /// Why it may not. The request has had no effect.
    fn check(&self) -> Result<()>;

    /// A request that it has allowed was sent, or may have been.
    fn sent(&self);
}
