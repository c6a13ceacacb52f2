//! How a read gets what is not in the cache.

use tokio::time::Instant;

use super::readers::Readers;
use crate::error::Result;

/// What a read does if the cache does not answer it. `F` is the load itself, which may outlive its
/// caller.
pub trait Load<F> {
    /// Asked before anything is done for a load.
    ///
    /// # Errors
    ///
    /// When it is clear that the load would be refused.
    fn admits(&self) -> Result<()>;

    /// Makes the load, with a deadline of its own, and those to tell if it has to wait.
    fn begin(self, deadline: Instant, readers: Option<Readers>) -> F;
}

/// A closure that makes a load refuses nothing.
impl<F, L: FnOnce(Instant, Option<Readers>) -> F> Load<F> for L {
    fn admits(&self) -> Result<()> {
        Ok(())
    }

    fn begin(self, deadline: Instant, readers: Option<Readers>) -> F {
        self(deadline, readers)
    }
}
