//! The writes under way in this process: a place for each, and what a drain waits for.

use std::{future::Future, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::caller::{Caller, Callers, Full, Held, Pool, Resource};

/// The writes under way, also those whose call is over. Clones share them.
#[derive(Debug, Clone)]
pub struct Writes {
    places: Arc<Pool>,
    tasks: TaskTracker,
    draining: CancellationToken,
}

impl Writes {
    /// Room for as many writes as there may be calls, of which each caller gets its share.
    #[must_use]
    pub fn among_calls(calls: usize, callers: &Callers) -> Self {
        let places = callers.pool(Resource::Writes, calls);
        Self { places, tasks: TaskTracker::new(), draining: CancellationToken::new() }
    }

    /// A place for a write, which holds it to its end.
    ///
    /// # Errors
    ///
    /// When all are taken, or the caller has its share; that is counted.
    pub fn enter(&self, caller: &Arc<Caller>) -> Result<Held, Full> {
        self.places.acquire(caller, 1)
    }

    /// Lets a write go on without its call.
    pub fn spawn<F>(&self, write: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn(write)
    }

    /// Cancelled when the process drains.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Ends the writes that have sent nothing.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Waits until all others are over.
    pub async fn over(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many are under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tasks.len()
    }
}

impl Default for Writes {
    /// Room for any number.
    fn default() -> Self {
        Self::among_calls(usize::MAX, &Callers::default())
    }
}
