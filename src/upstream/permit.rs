//! What has to allow each request that may change something.

use std::{future::Future, sync::Arc};

use tokio::task::futures::TaskLocalFuture;

use crate::error::Result;

/// Says whether a request that may change something may still be sent. Asked right before each one,
/// after all that it has waited for, and once more when there is a connection for it.
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

tokio::task_local! {
    /// What has to allow the request that is under way.
    static ASKED: Vec<Arc<dyn Permit>>;
}

/// An exchange, whose connection asks these.
pub(super) fn asking<F: Future>(
    permits: Vec<Arc<dyn Permit>>,
    exchange: F,
) -> TaskLocalFuture<Vec<Arc<dyn Permit>>, F> {
    ASKED.scope(permits, exchange)
}

/// Asks those of the exchange that this is a part of.
pub(super) fn ask() -> Result<()> {
    let ask = |permits: &Vec<Arc<dyn Permit>>| permits.iter().try_for_each(|own| own.check());
    ASKED.try_with(ask).unwrap_or(Ok(()))
}
