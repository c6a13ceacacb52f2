//! Background tasks, which no caller waits for.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Runs loads and polls until it is shut down. Clones share.
#[derive(Debug, Clone, Default)]
pub struct BackgroundTasks {
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl BackgroundTasks {
    /// Runs a task in the background. A shutdown cancels it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.closing.clone().run_until_cancelled_owned(task));
    }

    /// Runs a task in the background that ends by itself when it is told to, soon. A shutdown waits
    /// for it.
    pub fn spawn_until<F>(&self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task(self.closing.clone()));
    }

    /// How many tasks there are.
    #[cfg(test)]
    pub(super) fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Cancels all tasks and waits until they have ended. Call it when no caller waits for their
    /// results.
    pub async fn shut_down(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
