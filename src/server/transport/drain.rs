//! How the server ends: what is stopped, in which order, and how long each may take.

use std::{future::Future, time::Duration};

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::connections::Connections;
use crate::server::metrics::ServerMetrics;

/// How long what was cut may take to unwind. It has nothing left to wait for.
const UNWIND: Duration = Duration::from_secs(1);

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything finished.
    Clean,
    /// The time was up, or the wait was aborted: this was still running and has been cut.
    Forced {
        /// Open connections.
        connections: usize,
        /// gRPC calls on them, streams included.
        calls: usize,
        /// Detached tasks, such as writes that were settling; these run on until the process ends.
        tasks: usize,
    },
}

/// Sends all clients away and waits for connections and detached tasks, no longer than `limit` and
/// not beyond `abort`; then cuts the connections.
pub(crate) async fn drain(
    connections: &Connections,
    tasks: &TaskTracker,
    metrics: &ServerMetrics,
    limit: Duration,
    abort: impl Future<Output = ()>,
) -> Drained {
    connections.goaway.cancel();
    let all = async {
        connections.gone().await;
        // After the connections, because their calls may still start some.
        tasks.close();
        tasks.wait().await;
    };
    let finished = tokio::select! {
        finished = timeout(limit, all) => finished.is_ok(),
        () = abort => false,
    };
    if finished {
        return Drained::Clean;
    }
    let left = Drained::Forced {
        connections: connections.tracker.len(),
        calls: metrics.calls_in_flight(),
        tasks: tasks.len(),
    };
    connections.kill.cancel();
    if timeout(UNWIND, connections.gone()).await.is_err() {
        tracing::warn!("calls do not end although they were cut");
    }
    left
}
