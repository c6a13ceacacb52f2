//! What the calls of a connection learn about its end.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connections::Connections, pulse::Pulse};

/// The end of one connection, in three stages. A call belongs to one of them and responds when it
/// comes; after that, the connection has no calls and ends.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// The client is asked to leave: streams end.
    pub leave: CancellationToken,
    /// The grace for calls in flight is over: reads end.
    pub over: CancellationToken,
    /// The process is about to end: writes end.
    pub cut: CancellationToken,
    /// The writes under way, which the connection waits for.
    pub writes: TaskTracker,
    /// Whether anything moves.
    pub pulse: Pulse,
}

impl Closing {
    /// The end of one of these connections, which comes with theirs or before it.
    pub(crate) fn of(connections: &Connections) -> Self {
        Self {
            leave: connections.goaway.child_token(),
            over: connections.cut.child_token(),
            cut: connections.cut.clone(),
            writes: TaskTracker::new(),
            pulse: Pulse::default(),
        }
    }
}
