//! Where work goes on that no caller waits for.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Where loads and polls run. They end when `closing` is cancelled: by then no caller waits for
/// them.
#[derive(Debug, Clone, Default)]
pub struct BackgroundTasks {
    /// All that run.
    pub tasks: TaskTracker,
    /// Ends them.
    pub closing: CancellationToken,
}

impl BackgroundTasks {
    /// Ends all tasks and waits until they are gone.
    pub async fn shut_down(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
