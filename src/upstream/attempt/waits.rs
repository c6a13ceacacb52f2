//! How the requests of a session wait, and who is told.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Session;
use crate::{
    error::{Error, Retry},
    upstream::{
        bulkhead::Slot,
        cause::Failure,
        class::Class,
        client::Upstream,
        message::{Port as _, Safety},
        pace::{Refusal, Turn},
        patience::{Delay, Patience},
        retry::Outcome,
        sharing::Permit,
        status,
        transport::deadline_passed,
    },
};

impl Session {
    /// Waits until a request may be sent: for the limits of this replica, and then for those of all
    /// of them.
    pub(super) async fn enter(&self) -> Result<Slot<'_>, Failure> {
        let (upstream, caller) = (&self.upstream, &self.caller);
        loop {
            let class = self.class();
            let entered = upstream.bulkhead.enter(&upstream.pace, (class, caller), self).await;
            let slot = entered.map_err(|refusal| self.refused(refusal))?;
            let Some(again) = self.waits_for_permit(class).await? else {
                // Once, however often it was sent back to the line.
                upstream.bulkhead.count(caller, Instant::now());
                return Ok(slot);
            };
            // What waits holds no slot.
            drop(slot);
            self.waits_until(again).await?;
        }
    }

    /// Waits until a request may be sent once more, within the same attempt.
    pub(super) async fn permit_again(&self) -> Result<(), Failure> {
        let (pace, caller) = (&self.upstream.pace, &self.caller);
        loop {
            let now = Instant::now();
            let Err(turn) = pace.take(Class::Settling, now) else {
                let Some(again) = self.waits_for_permit(Class::Settling).await? else {
                    self.upstream.bulkhead.count(caller, Instant::now());
                    return Ok(());
                };
                self.waits_until(again).await?;
                continue;
            };
            self.allows(turn, now).map_err(|refusal| self.refused(refusal))?;
            tokio::time::sleep_until(turn.at).await;
        }
    }

    /// Waits until other replicas leave room for a request, if that is soon. Otherwise it says when
    /// the request has to pass the limits of this one again.
    async fn waits_for_permit(&self, class: Class) -> Result<Option<Instant>, Failure> {
        let permit = timeout_at(self.deadline, self.upstream.permit(class)).await;
        match permit.map_err(|_| Failure::local(deadline_passed(Safety::Read)))? {
            Permit::At(at) => self.waits_until(at).await.map(|()| None),
            Permit::Again(at) => Ok(Some(at)),
        }
    }

    /// Waits, unless the deadline passes before.
    async fn waits_until(&self, at: Instant) -> Result<(), Failure> {
        if self.deadline <= at.max(Instant::now()) {
            return Err(Failure::local(deadline_passed(Safety::Read)));
        }
        sleep_until(at).await;
        Ok(())
    }

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
