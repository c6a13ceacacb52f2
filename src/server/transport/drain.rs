//! How the server shuts down: what is stopped, in which order, and how long each step may take.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use super::{connection::UNWIND, connections::Connections};
use crate::{call::Writes, server::metrics::ServerMetrics};

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything finished.
    Clean,
    /// The time was up, or the wait was aborted: this was still running and was cut off.
    Forced {
        /// Open connections.
        connections: usize,
        /// gRPC calls on them, streams included.
        calls: usize,
        /// Writes under way, also those whose call is over; these run until the process ends.
        tasks: usize,
    },
}

/// Asks all clients to leave and waits for connections and writes, until `limit` or `abort`; then
/// ends the calls, and cuts what is left.
pub(crate) async fn drain(
    connections: &Connections,
    writes: &Writes,
    metrics: &ServerMetrics,
    limit: Duration,
    abort: impl Future<Output = ()>,
) -> Drained {
    connections.goaway.cancel();
    writes.drain();
    let all = async {
        connections.gone().await;
        // After the connections, because their calls may still start writes.
        writes.over().await;
    };
    let finished = tokio::select! {
        finished = timeout(limit, all) => finished.is_ok(),
        () = abort => false,
    };
    if finished {
        return Drained::Clean;
    }
    let (calls, tasks) = (metrics.calls_in_flight(), writes.running());
    // A client that keeps a connection without a call has lost nothing.
    let left = match (calls, tasks) {
        (0, 0) => Drained::Clean,
        _ => Drained::Forced { connections: connections.tracker.len(), calls, tasks },
    };
    connections.cut.cancel();
    if timeout(UNWIND, connections.gone()).await.is_ok() {
        return left;
    }
    connections.kill.cancel();
    if timeout(UNWIND, connections.gone()).await.is_err() {
        tracing::warn!("calls have not ended although they were cut off");
    }
    left
}
