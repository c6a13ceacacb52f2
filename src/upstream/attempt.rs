//! A [`Session`] sends the requests of one call. It is the only place that retries.
//!
//! A read is retried after a lost connection, a truncated answer, a 429, or a status that says that
//! a proxy or load balancer gave up. A write is retried only if no connection was established, so
//! that it cannot have been sent. A definite answer is never retried. The deadline, the retry
//! budget and the backend's `max_attempts` limit the attempts. No slot or permit is held between
//! attempts.

mod signed;
mod waits;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backon::ExponentialBackoff;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    breaker::{Asked, Verdict},
    cause::{Cause, Failure},
    class::Class,
    client::Upstream,
    credentials::CurrentTokens,
    debug_log,
    message::{Port, Reply, Request, Safety, subject},
    pace::Refusal,
    patience::{Patience, Waiters},
    permit::Permit,
    refusal,
    retry::{LONGEST_BACKOFF, Outcome, pauses, was_sent, worth_repeating},
    transport::deadline_passed,
};
use crate::{
    caller::{Caller, Spending, urgently},
    error::Result,
};

/// A larger answer is searched apart from the threads that serve calls.
const SEARCHED_AT_ONCE: usize = 32 * 1024;

/// Calls one upstream on behalf of one call.
pub struct Session {
    upstream: Arc<Upstream>,
    deadline: Instant,
    counter: Arc<Spending>,
    bypasses_breaker: bool,
    class: Class,
    /// A write was sent: what follows ends what it began.
    wrote: AtomicBool,
    /// Who else has to know how long its requests wait.
    waiters: Option<Arc<dyn Waiters>>,
    /// To whom the requests are counted.
    caller: Arc<Caller>,
    progress: Arc<Progress>,
    /// All of them have to allow each write.
    permits: Vec<Arc<dyn Permit>>,
}

/// What the sessions of one call have done so far.
#[derive(Default)]
struct Progress {
    /// The tokens that the requests carried: an answer may repeat one long after it was replaced.
    sent: Mutex<Vec<Arc<CurrentTokens>>>,
    /// Something was read.
    has_read: AtomicBool,
    /// It was admitted. What it sends then is counted, and not refused.
    has_begun: AtomicBool,
}

impl Session {
    /// A session for one call of this caller. `counter` counts each request that is sent.
    #[must_use]
    pub fn new(
        upstream: &Arc<Upstream>,
        deadline: Instant,
        counter: Arc<Spending>,
        caller: &Arc<Caller>,
    ) -> Self {
        Self {
            upstream: Arc::clone(upstream),
            deadline,
            counter,
            bypasses_breaker: false,
            class: Class::Call,
            wrote: AtomicBool::new(false),
            waiters: None,
            caller: Arc::clone(caller),
            progress: Arc::default(),
            permits: Vec::new(),
        }
    }

    /// The same session for work that others wait for. They are told of each wait; without
    /// anyone who can wait that long, its first request is given up.
    #[must_use]
    pub fn telling(&self, waiters: impl Waiters + 'static) -> Self {
        Self { waiters: Some(Arc::new(waiters)), ..self.again() }
    }

    /// The same session with an earlier deadline.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self { deadline: deadline.min(self.deadline), ..self.again() }
    }

    /// When it ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same session for requests that find out or undo what a write did. An open circuit does
    /// not stop them, because the outcome would stay unknown without them.
    #[must_use]
    pub fn bypass_breaker(&self) -> Self {
        Self { bypasses_breaker: true, ..self.of(Class::Settling) }
    }

    /// The same session for requests of another class.
    #[must_use]
    pub fn of(&self, class: Class) -> Self {
        Self { class, ..self.again() }
    }

    /// The same session, whose writes need this to allow them too.
    #[must_use]
    pub fn permitted_by(&self, permit: Arc<dyn Permit>) -> Self {
        let mut session = self.again();
        session.permits.push(permit);
        session
    }

    fn again(&self) -> Self {
        Self {
            upstream: Arc::clone(&self.upstream),
            deadline: self.deadline,
            counter: Arc::clone(&self.counter),
            bypasses_breaker: self.bypasses_breaker,
            class: self.class,
            wrote: AtomicBool::new(self.wrote.load(Ordering::Relaxed)),
            waiters: self.waiters.clone(),
            caller: Arc::clone(&self.caller),
            progress: Arc::clone(&self.progress),
            permits: self.permits.clone(),
        }
    }

    /// Makes one attempt: checks the circuit, waits for the rate and a slot, takes a token, and
    /// sends the request.
    async fn attempt(&self, request: &Request) -> Outcome {
        let upstream = &self.upstream;
        let asked = self.asks(request);
        self.may_begin(asked, Instant::now())?;
        let _slot = self.enter().await?;
        self.progress.has_begun.store(true, Ordering::Relaxed);
        if let Some(waiters) = &self.waiters {
            waiters.goes_on();
        }
        let ticket = upstream.admit(asked, self.bypasses_breaker, Instant::now())?;
        self.send_with_credentials(request, &ticket).await
    }

    /// Refuses what would be refused before it waits for anything, as its request about this
    /// profile, or about none, would.
    pub fn admits(&self, profile: Option<&str>) -> Result<()> {
        let asked = Asked { caller: self.caller.id(), subject: subject(profile, None) };
        self.may_begin(asked, Instant::now()).map_err(|failure| failure.error)
    }

    fn asks(&self, request: &Request) -> Asked {
        Asked { caller: self.caller.id(), subject: request.subject() }
    }

    fn may_begin(&self, asked: Asked, now: Instant) -> Result<(), Failure> {
        let upstream = &self.upstream;
        if self.deadline <= now {
            // A timer would let the request out before it fires.
            return Err(Failure::local(deadline_passed(Safety::Read)));
        }
        // Checked before queuing too, so that no call waits only to be refused.
        upstream.stops(asked, self.bypasses_breaker, now)?;
        let class = self.class();
        if !self.progress.has_begun.load(Ordering::Relaxed) {
            let admitted = upstream.bulkhead.admits(&upstream.pace, (class, &self.caller), now);
            admitted.map_err(|refusal| self.refused(refusal))?;
        }
        let turn = upstream.pace.when(class, 1, now);
        self.allows(turn, now).map_err(|refusal| self.refused(refusal))
    }

    /// Remembers a token that a request carries.
    fn note_sent(&self, current: &Arc<CurrentTokens>) {
        let mut sent = self.progress.sent.lock();
        if sent.last().is_none_or(|last| last.generation != current.generation) {
            sent.push(Arc::clone(current));
        }
    }

    fn class(&self) -> Class {
        if self.wrote.load(Ordering::Relaxed) { Class::Settling } else { self.class }
    }

    fn refused(&self, refusal: Refusal) -> Failure {
        Failure::local(self.upstream.refused(refusal))
    }

    /// How long to wait before a retry; `None` if there is no retry.
    fn pause(
        &self,
        request: &Request,
        outcome: &Outcome,
        attempts: u32,
        backoff: &mut Option<ExponentialBackoff>,
    ) -> Option<Duration> {
        let upstream = &self.upstream;
        let asked = worth_repeating(request.safety, outcome)?;
        if attempts >= upstream.max_attempts {
            return None;
        }
        let backoff = backoff.get_or_insert_with(pauses);
        let pause = backoff.next().unwrap_or(LONGEST_BACKOFF).max(asked);
        let now = Instant::now();
        // This answer says more than a missed deadline.
        if now + pause >= self.deadline
            || upstream.stops(self.asks(request), false, now).is_err()
            || !self.tell_of_pause(outcome, now + pause)
        {
            return None;
        }
        if !upstream.budget.spend(now) {
            upstream.metrics.over_budget();
            return None;
        }
        upstream.metrics.retried(request.operation);
        Some(pause)
    }
}

#[async_trait]
impl Port for Session {
    async fn send(&self, request: Request) -> Result<Reply> {
        let mut backoff = None;
        let mut before: Option<Outcome> = None;
        for attempts in 1.. {
            // Others wait for its turn, its slot, and what it takes of the rate.
            let outcome = urgently(self.attempt(&request)).await;
            if request.safety == Safety::Write && was_sent(&outcome) {
                self.wrote.store(true, Ordering::Relaxed);
            }
            if outcome.as_ref().is_ok_and(|reply| reply.status.is_success()) {
                self.progress.has_read.store(true, Ordering::Relaxed);
            }
            let outcome = match (outcome, before.take()) {
                // The upstream's answer says more than the reason for not retrying.
                (Err(Failure { cause: Cause::Local, .. }), Some(before)) => before,
                (outcome, _) => outcome,
            };
            let Some(pause) = self.pause(&request, &outcome, attempts, &mut backoff) else {
                before = Some(outcome);
                break;
            };
            before = Some(outcome);
            debug_log::retry(&self.upstream.backend, &request, attempts, pause);
            tokio::time::sleep(pause).await;
        }
        let nothing = || Err(Failure::local(deadline_passed(Safety::Read)));
        let outcome = before.unwrap_or_else(nothing);
        if Upstream::verdict(&outcome) == Some(Verdict::Good) {
            self.upstream.budget.earn();
        }
        outcome.map_err(|failure| failure.error.without_secrets(|text| self.redact(text)))
    }

    fn foresee(&self, requests: usize) -> Result<()> {
        let (upstream, class, now) = (&self.upstream, self.class(), Instant::now());
        let turn = upstream.pace.when(class, requests, now);
        if turn.at < self.deadline {
            return Ok(());
        }
        let refusal = turn.refusal(now);
        let _ = self.refused(refusal);
        let left = self.deadline.saturating_duration_since(now);
        let part = refusal.window().and_then(|name| upstream.pace.part(class, name));
        Err(refusal::too_many(requests, refusal, part, left))
    }

    fn room(&self) -> usize {
        let room = self.upstream.pace.room(self.class(), Instant::now());
        room.and_then(|room| room.try_into().ok()).unwrap_or(usize::MAX)
    }

    fn room_in(&self, requests: usize) -> Duration {
        self.upstream.room_in(self.class(), u32::try_from(requests).unwrap_or(u32::MAX))
    }

    fn redact(&self, text: &str) -> Option<String> {
        let sent = self.progress.sent.lock().clone();
        self.upstream.redact(text, &sent)
    }

    async fn repeats_secret(&self, body: &Bytes) -> bool {
        let needles = self.upstream.needles(&self.progress.sent.lock());
        if body.len() < SEARCHED_AT_ONCE {
            return needles.are_in(body);
        }
        let body = body.clone();
        let searched = tokio::task::spawn_blocking(move || needles.are_in(&body));
        // Only the end of the process keeps it from its end, and then nothing may be shown.
        searched.await.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests;
