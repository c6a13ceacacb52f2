//! What is known of a watched backend, and what streams wait for.

use tokio::time::Instant;

use super::history::History;
use crate::{
    error::{Error, Reason, Result},
    gateway::backend::Backend,
};

/// Polls are numbered from 1, so that a stream or a write can ask for one that begins after itself.
pub(super) struct State {
    pub(super) history: History,
    pub(super) watchers: usize,
    /// Whether the task is running. The task clears this itself when it ends, under the same lock.
    pub(super) running: bool,
    /// The latest poll that began.
    pub(super) begun: u64,
    /// The number of writes to the backend before that poll: see [`Backend::changes`].
    pub(super) changes: u64,
    /// The latest poll that succeeded.
    pub(super) succeeded: u64,
    /// The latest poll that is wanted.
    pub(super) wanted: u64,
    /// What streams may go on with is known up to this one, if replicas share it.
    pub(super) followed: u64,
    /// When the poll began that is running.
    pub(super) polling: Option<Instant>,
    /// Whether the poll that is running waits for the vendor's limits half way.
    pub(super) pacing: bool,
    /// The number and the error of the latest poll, if it failed.
    pub(super) failing: Option<(u64, Error)>,
    /// Why what replicas share cannot be read, if it could not for a while.
    pub(super) away: Option<Error>,
    /// Why it is over, if the backend was replaced or removed.
    pub(super) over: Option<Error>,
}

impl State {
    /// Before the first poll, which streams do not wait for if no one else changes the history.
    pub(super) fn new(history: History, is_shared: bool) -> Self {
        Self {
            history,
            watchers: 0,
            running: false,
            begun: 0,
            changes: 0,
            succeeded: 0,
            wanted: 0,
            followed: if is_shared { 0 } else { u64::MAX },
            polling: None,
            pacing: false,
            failing: None,
            away: None,
            over: None,
        }
    }

    /// Asks for a poll if a write came after the latest poll began. Applying the write itself would
    /// not be enough: in the upstream, it may also affect other profiles.
    pub(super) fn catch_up(&mut self, changes: u64) {
        if changes != self.changes {
            self.want();
        }
    }

    /// Asks for a poll that has not begun yet.
    pub(super) fn want(&mut self) {
        self.wanted = self.begun + 1;
    }

    /// Whether there is no reason to go on.
    pub(super) fn is_unwatched(&self) -> bool {
        self.watchers == 0 || self.over.is_some()
    }

    /// The latest poll that has ended.
    pub(super) fn ended(&self) -> u64 {
        self.succeeded.max(self.failing.as_ref().map_or(0, |(failed, _)| *failed))
    }

    pub(super) fn recovered(&mut self, number: u64, backend: &Backend) {
        self.succeeded = number;
        if self.failing.take().is_some() {
            let backend = backend.name().id();
            tracing::info!(target: "gateway", backend, "a watched backend can be read again");
        }
    }

    // Only the first failure is logged; the backend's status shows later ones.
    pub(super) fn failed(&mut self, number: u64, error: Error, backend: &Backend) {
        if self.failing.is_none() {
            let backend = backend.name().id();
            tracing::warn!(
                target: "gateway", backend, %error,
                "a watched backend cannot be read; its streams wait"
            );
        }
        self.failing = Some((number, error));
    }

    /// Whether the next outcome is far off: the poll that is running waits for the vendor's limits.
    pub(super) fn is_pacing(&self) -> bool {
        self.pacing
    }

    /// Why no poll comes any more, if that is so.
    pub(super) fn goes_on(&self) -> Result<()> {
        self.over.clone().map_or(Ok(()), Err)
    }

    /// Whether it is known what a stream may go on with that waits for this number.
    pub(super) fn follows(&self, number: u64) -> Result<bool> {
        self.goes_on()?;
        let (away, failing) = (self.away.iter(), self.failing.iter());
        if self.followed >= number {
            return Ok(true);
        }
        let failed = failing.filter(|(failed, _)| *failed >= number).map(|(_, why)| why);
        away.chain(failed).next().map_or(Ok(false), |why| Err(why.clone()))
    }

    /// How the poll of this number, or a later one, ended; `None` if none of them has ended yet.
    pub(super) fn outcome(&self, number: u64) -> Option<Result<()>> {
        if let Err(over) = self.goes_on() {
            return Some(Err(over));
        }
        if self.succeeded >= number {
            return Some(Ok(()));
        }
        if let Some(away) = &self.away {
            return Some(Err(away.clone()));
        }
        let (failed, error) = self.failing.as_ref()?;
        (*failed >= number).then(|| Err(error.clone()))
    }
}

/// The error for a stream over a backend that is not the one that it was opened over. To open it
/// again is safe, and tells what is there now.
pub(super) fn replaced(backend: &str) -> Error {
    let message = format!(
        "the configuration of `backends/{backend}` has changed; open the stream again, without a \
         resume_token if this one is refused"
    );
    Error::new(Reason::Overloaded, message)
}
