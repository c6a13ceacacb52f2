//! What the calls of a connection learn about its end.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connections::Connections, pulse::Pulse};

/// How many calls of a connection may be of no one.
const MAX_UNPROVED: u32 = 100;

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
    /// Too many of its calls were of no one.
    pub unwelcome: CancellationToken,
    unproved: AtomicU32,
    /// The client's certificate has run out.
    expired: AtomicBool,
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
            unwelcome: CancellationToken::new(),
            unproved: AtomicU32::new(0),
            expired: AtomicBool::new(false),
        }
    }

    /// A call did not prove who it is of. After so many, the client has to connect again: to verify
    /// what is forged costs more than to send it.
    pub(crate) fn unproved(&self) {
        if self.unproved.fetch_add(1, Ordering::Relaxed) + 1 == MAX_UNPROVED {
            self.unwelcome.cancel();
        }
    }

    /// Notes, before the client is asked to leave, that its certificate has run out.
    pub(crate) fn expire(&self) {
        self.expired.store(true, Ordering::Release);
    }

    /// Whether what the client has proved by its certificate does not count any more.
    pub(crate) fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Acquire)
    }
}
