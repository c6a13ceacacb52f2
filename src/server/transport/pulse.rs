//! What moves on a connection: how many calls it has, and whether its client takes what is written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

/// One call more that has begun; those that run are counted below.
const BEGUN: u64 = 1 << 32;

/// The state of a connection, as its parts tell it to each other.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// How many calls have begun, above how many of them run.
    calls: AtomicU64,
    /// The client does not take what is written.
    blocked: AtomicBool,
    /// It has not for so long that the connection was given up.
    unread: AtomicBool,
    /// Over HTTP/1, when what is not sent of the response is dropped.
    until: Mutex<Option<Instant>>,
}

/// What a connection had done when it was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Whether no call runs.
    pub(crate) fn is_idle(self) -> bool {
        self.0.is_multiple_of(BEGUN)
    }

    /// How many calls have begun since an earlier moment.
    pub(crate) fn calls_since(self, earlier: Self) -> u64 {
        (self.0 / BEGUN).wrapping_sub(earlier.0 / BEGUN)
    }

    /// Whether no request has arrived yet.
    pub(crate) fn is_silent(self) -> bool {
        self.0 == 0
    }
}

impl Pulse {
    /// A request arrived. Says whether it is the first one.
    pub(super) fn begin(&self) -> bool {
        self.calls.fetch_add(BEGUN + 1, Ordering::AcqRel) == 0
    }

    /// A response is over.
    pub(super) fn end(&self) {
        self.calls.fetch_sub(1, Ordering::AcqRel);
    }

    /// What the connection has done so far. It changes with each call.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.calls.load(Ordering::Acquire))
    }

    /// Sets until when a response over HTTP/1 may take, however it is read.
    pub(crate) fn answer_until(&self, end: Option<Instant>) {
        *self.until.lock() = end;
    }

    /// The client takes nothing at the moment. Gives when the response has to be over.
    pub(super) fn block(&self) -> Option<Instant> {
        self.blocked.store(true, Ordering::Relaxed);
        *self.until.lock()
    }

    /// The client takes something again.
    pub(super) fn unblock(&self) {
        self.blocked.store(false, Ordering::Relaxed);
    }

    /// Whether something waits for the client to read.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// The client has read nothing for too long.
    pub(super) fn give_up(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether the connection was given up because its client did not read.
    pub(super) fn is_given_up(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }
}
