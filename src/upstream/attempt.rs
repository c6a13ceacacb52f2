//! A [`Session`] sends the requests of one call, and is the one place that sends a request again.
//!
//! What goes again: a read that met a lost connection, a cut answer, or a status that says that
//! something on the way gave up; a write only when no connection came about, so that it cannot have
//! been sent. Never a definite answer, never past the deadline, and only as often as the retry
//! budget and the backend's `max_attempts` allow. Between attempts nothing is held: neither a slot
//! nor a permit.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::StatusCode;
use tokio::time::Instant;

use super::{
    breaker::{Ticket, Verdict},
    client::{CIRCUIT, Upstream},
    login,
    message::{Port, Reply, Request, Safety},
    metrics::Shed,
    pace::Refusal,
    status,
    transport::{Cause, Failure, deadline_passed},
};
use crate::error::{Error, Reason, Result, Retry};

/// First pause between attempts; it doubles, with jitter, up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Longest pause between attempts that the upstream did not ask for.
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// Calls one upstream on behalf of one call.
pub struct Session {
    upstream: Arc<Upstream>,
    deadline: Instant,
    counter: Arc<AtomicU32>,
    bypasses_breaker: bool,
}

type Outcome = Result<Reply, Failure>;

impl Session {
    /// A session for one call. `counter` is raised for each request that is sent.
    #[must_use]
    pub fn new(upstream: &Arc<Upstream>, deadline: Instant, counter: Arc<AtomicU32>) -> Self {
        Self { upstream: Arc::clone(upstream), deadline, counter, bypasses_breaker: false }
    }

    /// The same session with an earlier deadline.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self { deadline: deadline.min(self.deadline), ..self.again() }
    }

    /// The same session for requests that find out or undo what a write did: an open circuit does
    /// not hold them back, because without them its outcome stays unknown.
    #[must_use]
    pub fn bypass_breaker(&self) -> Self {
        Self { bypasses_breaker: true, ..self.again() }
    }

    fn again(&self) -> Self {
        Self {
            upstream: Arc::clone(&self.upstream),
            deadline: self.deadline,
            counter: Arc::clone(&self.counter),
            bypasses_breaker: self.bypasses_breaker,
        }
    }

    /// One attempt: the circuit, a slot, a permit, a token, the request.
    async fn attempt(&self, request: &Request) -> Outcome {
        let upstream = &self.upstream;
        let now = Instant::now();
        if self.deadline <= now {
            // A timer would let the request leave before it fires.
            return Err(Failure::local(deadline_passed(Safety::Read)));
        }
        // Before the queue too, so that no call waits for what will be refused.
        if let Some(wait) = upstream.breaker.wait(now).filter(|_| !self.bypasses_breaker) {
            return Err(Failure::local(circuit_open(wait)));
        }
        if let Some(refusal) = upstream.pace.refuses(now, self.deadline) {
            return Err(self.refused(refusal));
        }
        let _slot = upstream.bulkhead.enter(self.deadline).await.map_err(|(shed, wait)| {
            upstream.metrics.shed(shed);
            Failure::local(overloaded(shed, wait))
        })?;
        upstream.pace.permit(self.deadline).await.map_err(|refusal| self.refused(refusal))?;
        let ticket = if self.bypasses_breaker {
            upstream.breaker.pass()
        } else {
            let admitted = upstream.breaker.admit(Instant::now());
            admitted.map_err(|wait| Failure::local(circuit_open(wait)))?
        };
        self.send_with_credentials(request, &ticket).await
    }

    fn refused(&self, refusal: Refusal) -> Failure {
        Failure::local(match refusal {
            Refusal::Paused(wait) => throttled(wait),
            Refusal::Late(wait) => {
                self.upstream.metrics.shed(Shed::Rate);
                overloaded(Shed::Rate, wait)
            }
        })
    }

    async fn send_with_credentials(&self, request: &Request, ticket: &Ticket<'_>) -> Outcome {
        let upstream = &self.upstream;
        let exchange = async |headers: &[_]| {
            let result = upstream.exchange(request, headers, self.deadline, &self.counter).await;
            upstream.judge(ticket, &result);
            result
        };
        if let Some(token) = upstream.auth.fixed() {
            return exchange(&upstream.auth.headers(token).map_err(Failure::local)?).await;
        }
        let mut refused = None;
        loop {
            // Waiting for a login is not a write under way: nothing has left yet.
            let current = tokio::time::timeout_at(
                self.deadline,
                login::tokens(upstream, refused, &self.counter),
            )
            .await
            .map_err(|_| Failure::local(deadline_passed(Safety::Read)))?
            .map_err(|error| Failure::new(Cause::Login, error))?;
            let headers = upstream.auth.headers(&current.tokens.access).map_err(Failure::local)?;
            let reply = exchange(&headers).await?;
            // A refused request was not carried out, so a write may go again too, once.
            if !upstream.auth.is_refused(&reply) {
                login::token_accepted(upstream, &current);
                return Ok(reply);
            }
            if refused.is_some() {
                login::token_refused(upstream, &current);
                return Ok(reply);
            }
            refused = Some(current.generation);
        }
    }

    /// How long to wait before the request goes again; `None` when it does not.
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
        // The answer that is there says more than a deadline that passed.
        if now + pause >= self.deadline || upstream.breaker.wait(now).is_some() {
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
            let outcome = match (self.attempt(&request).await, before.take()) {
                // What the upstream did says more than why it was not asked again.
                (Err(Failure { cause: Cause::Local, .. }), Some(before)) => before,
                (outcome, _) => outcome,
            };
            let Some(pause) = self.pause(&request, &outcome, attempts, &mut backoff) else {
                before = Some(outcome);
                break;
            };
            before = Some(outcome);
            tokio::time::sleep(pause).await;
        }
        let nothing = || Err(Failure::local(deadline_passed(Safety::Read)));
        let outcome = before.unwrap_or_else(nothing);
        if Upstream::verdict(&outcome) == Some(Verdict::Good) {
            self.upstream.budget.earn();
        }
        outcome.map_err(|failure| failure.error.without_secrets(|text| self.redact(text)))
    }

    fn redact(&self, text: &str) -> Option<String> {
        self.upstream.redact(text)
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_BACKOFF)
        .with_max_delay(LONGEST_BACKOFF)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Whether a failed request may go again, and the least pause that the upstream asks for.
fn worth_repeating(safety: Safety, outcome: &Outcome) -> Option<Duration> {
    let reads = safety == Safety::Read;
    match outcome {
        Ok(reply) if reads && reply.status == StatusCode::TOO_MANY_REQUESTS => {
            Some(status::throttle_pause(reply))
        }
        Ok(reply) if reads && is_transient(reply.status) => {
            Some(status::retry_after(reply).unwrap_or_default())
        }
        Ok(_) => None,
        Err(Failure { cause: Cause::NotSent, .. }) => Some(Duration::ZERO),
        Err(Failure { cause: Cause::Lost | Cause::Cut, .. }) => reads.then_some(Duration::ZERO),
        Err(Failure { cause: Cause::Login, error }) if reads => match error.retry() {
            Retry::After(after) if error.reason() == Reason::UpstreamUnavailable => {
                Some(after.unwrap_or_default())
            }
            _ => None,
        },
        Err(_) => None,
    }
}

/// Statuses that say that something before the upstream, or its entrance, gave up, and 429.
fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn circuit_open(wait: Duration) -> Error {
    let wait = whole_seconds(wait);
    let message = format!(
        "this backend's circuit breaker is open after repeated failures; nothing was sent; \
         the next attempt is in {}",
        humantime::format_duration(wait)
    );
    Error::new(Reason::UpstreamUnavailable, message)
        .with_retry(Retry::After(Some(wait)))
        .with_metadata(CIRCUIT, "open")
}

fn throttled(wait: Duration) -> Error {
    let wait = whole_seconds(wait);
    let message = format!(
        "the upstream is rate limiting the gateway; nothing was sent; the pause ends in {}",
        humantime::format_duration(wait)
    );
    Error::new(Reason::UpstreamThrottled, message).with_retry(Retry::After(Some(wait)))
}

fn overloaded(shed: Shed, wait: Duration) -> Error {
    let why = match shed {
        Shed::Full => "too many calls are waiting for this backend",
        Shed::TooLate => "the wait for this backend would exceed the call's deadline",
        Shed::Waited => "too many calls to this backend are in progress",
        Shed::Rate => "this backend's rate limit would delay the call past its deadline",
    };
    let wait = whole_seconds(wait.min(Duration::from_secs(60)));
    Error::new(Reason::Overloaded, format!("{why}; nothing was sent"))
        .with_retry(Retry::After(Some(wait)))
}

/// Rounded up, and at least one: who comes back too early is refused again.
fn whole_seconds(time: Duration) -> Duration {
    let up = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs((time.as_secs() + up).max(1))
}
