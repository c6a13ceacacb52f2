//! How the requests of a session wait, and who is told.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;

use super::Session;
use crate::{
    error::{Error, Retry},
    upstream::{
        client::Upstream,
        message::{Port as _, Safety},
        pace::{Refusal, Turn},
        patience::{Delay, Patience},
        retry::Outcome,
        status,
    },
};

impl Session {
    /// Tells those who wait for this session's work until when it waits, and how to refuse one who
    /// cannot wait that long. Whether it should wait.
    pub(super) fn tell(
        &self,
        (until, guessed): (Instant, bool),
        refusal: impl Fn(&Upstream, Instant) -> Error + Send + Sync + 'static,
    ) -> bool {
        let Some(waiters) = &self.waiters else { return true };
        let upstream = Arc::clone(&self.upstream);
        let refusal = move || {
            let error = refusal(&upstream, Instant::now());
            upstream.note_failure(&error);
            error
        };
        let has_read = self.progress.has_read.load(Ordering::Relaxed);
        waiters.tell(Delay { until, guessed, has_read, refusal: Arc::new(refusal) })
    }

    /// Tells the same of a pause before a retry, which this failure asks for.
    pub(super) fn tell_of_pause(&self, outcome: &Outcome, until: Instant) -> bool {
        if self.waiters.is_none() {
            return true;
        }
        let error = match outcome {
            Ok(reply) => status::failed_status(Safety::Read, reply),
            Err(failure) => failure.error.clone(),
        };
        let error = error.without_secrets(|text| self.redact(text));
        self.tell((until, false), move |_, now| {
            let left = until.saturating_duration_since(now);
            error.clone().with_retry(Retry::After(Some(left)))
        })
    }
}

impl Patience for Session {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn allows(&self, turn: Turn, now: Instant) -> Result<(), Refusal> {
        self.deadline.allows(turn, now)?;
        let refusal = move |upstream: &Upstream, now| upstream.refused(turn.refusal(now));
        match turn.at <= now || self.tell((turn.at, turn.is_guessed()), refusal) {
            true => Ok(()),
            false => Err(turn.refusal(now)),
        }
    }

    fn queues(&self, for_share: bool) {
        if let Some(waiters) = &self.waiters
            && !self.progress.has_read.load(Ordering::Relaxed)
        {
            waiters.queues(for_share);
        }
    }
}
