//! All connections of a port, and the ways to end them.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// All connections of a port and what runs on them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    /// The tasks of the connections.
    pub tracker: TaskTracker,
    /// The tasks of HTTP/2 streams, which outlive their connection by a moment.
    pub streams: TaskTracker,
    /// Asks all clients to leave (GOAWAY); calls in flight finish.
    pub goaway: CancellationToken,
    /// Ends all calls, writes too. They still respond, which takes only a moment.
    pub cut: CancellationToken,
    /// Ends everything at once.
    pub kill: CancellationToken,
}

impl Connections {
    /// Waits until all are gone. Stop accepting first: new ones would still be served.
    pub(crate) async fn gone(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.streams.close();
        self.streams.wait().await;
    }
}
