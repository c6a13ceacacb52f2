//! How long a request may wait before it is sent, and who has to know of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::pace::{Refusal, Turn};
use crate::error::Error;

/// A wait of the requests of one session, as those are told who wait for what it does.
pub struct Delay {
    /// It does not go on before.
    pub until: Instant,
    /// Whether that is a guess, which may turn out too long.
    pub guessed: bool,
    /// Whether it has read something already, which would be lost if it ended now.
    pub has_read: bool,
    /// The error for one who cannot wait that long, with the time that is left.
    pub refusal: Arc<dyn Fn() -> Error + Send + Sync>,
}

/// Those who wait for what a session does.
pub trait Waiters: Send + Sync {
    /// Tells them of a wait. Whether the session should wait.
    fn tell(&self, delay: Delay) -> bool;

    /// Tells them that a request waits in the queue, or for a share that is its caller's own, and
    /// nothing was read yet. While it does, it is given up when no one waits for it any more.
    fn queues(&self, for_share: bool);

    /// Tells them that a request was sent after all.
    fn goes_on(&self);
}

/// Decides whether a request waits for its turn.
pub(super) trait Patience: Sync {
    /// When no reader waits for the request any longer.
    fn deadline(&self) -> Instant;

    /// Refuses to wait for a turn that comes too late.
    fn allows(&self, turn: Turn, now: Instant) -> Result<(), Refusal>;

    /// The request waits in the queue; for a share of its caller's, if so.
    fn queues(&self, _for_share: bool) {}
}

impl Patience for Instant {
    fn deadline(&self) -> Instant {
        *self
    }

    fn allows(&self, turn: Turn, now: Instant) -> Result<(), Refusal> {
        if turn.at < *self { Ok(()) } else { Err(turn.refusal(now)) }
    }
}
