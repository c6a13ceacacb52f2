//! Finds out the outcome of a write whose answer was lost: reads back until the effect shows or the
//! deadline passes.

use std::{future::Future, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use crate::{
    cache::{Cache, Target, Write},
    call::Call,
    error::{Effect, Error, Kind, Reason, Result, Retry},
    gateway::{agreement::Permission, idempotency::Attempt, write::outcome::unknown},
};

/// How many reads must confirm that a write has no effect.
const CONFIRMATIONS: u32 = 3;
/// The pause between them, of the gateway itself.
const GLANCE: Duration = Duration::from_millis(200);
/// The longest pause between two looks, so that a call that has time left looks again before its
/// deadline.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Looks for the effect of a failed write. `look` returns the result if the effect is visible,
/// `None` if it is not, and an error if it cannot tell.
///
/// A failure that the upstream reported is confirmed once its reads, which may lag behind by
/// `settle_time`, no longer could hide the effect. The effect stays in doubt, because it may still
/// come: a retry with the same `request_id` looks again.
pub(crate) async fn reconcile<T, F>(
    failure: Error,
    settle_time: Duration,
    call: &Call,
    look: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let until = match failure.effect() {
        Effect::None => return Err(failure),
        Effect::Unconfirmed => Until::Settled(Instant::now() + settle_time),
        Effect::Unknown => Until::Deadline,
    };
    let found = search(&failure, until, call, look).await?;
    found.ok_or_else(|| in_doubt(failure))
}

/// The error of a write whose effect may still come.
pub(crate) fn in_doubt(failure: Error) -> Error {
    match (failure.kind(), failure.retry()) {
        // They would invite clients to write again, without looking.
        (Kind::Unavailable, _) | (_, Retry::After(_)) => unknown(&failure),
        (_, Retry::No) => failure,
    }
}

/// How long an effect that does not show is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// To the deadline.
    Deadline,
    /// Until reads can no longer hide it.
    Settled(Instant),
    /// Until it can no longer come; what reads show before says nothing.
    Over(Instant),
    /// The same, but now only once: no caller waits for the outcome.
    Patiently(Instant),
}

impl Until {
    /// Whether a look that begins now counts, and whether it can be the last one.
    fn counts(self) -> (bool, bool) {
        let now = Instant::now();
        match self {
            Self::Deadline => (false, false),
            Self::Settled(time) => (true, time <= now),
            Self::Over(time) | Self::Patiently(time) => (time <= now, time <= now),
        }
    }

    /// Whether the effect can no longer come.
    pub(crate) fn is_over(self) -> bool {
        self.counts().1
    }

    fn is_patient(self) -> bool {
        matches!(self, Self::Patiently(_))
    }

    /// The pause before the next look, so that one comes as soon as it can be the last.
    fn pause(self, pause: Duration) -> Duration {
        match self {
            Self::Settled(time) if time > Instant::now() => pause.min(time - Instant::now()),
            _ => pause,
        }
    }
}

/// Looks for the effect of a write that this call or an earlier one sent. `None` means that it has
/// none.
pub(crate) async fn search<T, F>(
    failure: &Error,
    until: Until,
    call: &Call,
    mut look: impl FnMut() -> F,
) -> Result<Option<T>>
where
    F: Future<Output = Result<Option<T>>>,
{
    if until.is_patient() {
        return glance(failure, until, call, look).await;
    }
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .build();
    let mut absent = 0;
    loop {
        let (counts, is_last) = until.counts();
        match tokio::time::timeout_at(call.deadline, look()).await {
            Ok(Ok(Some(found))) => {
                let (method, resource) = call.record.writing().unwrap_or_default();
                tracing::info!(
                    target: "gateway", call_id = %call.record.id(), method, resource, %failure,
                    "a write with a lost answer took effect"
                );
                return Ok(Some(found));
            }
            Ok(Ok(None)) if counts => absent += 1,
            Ok(Ok(None)) => {}
            // If the profile does not exist, the write changed nothing and never will.
            Ok(Err(error)) if error.reason() == Reason::ProfileNotFound => return Err(error),
            // The state is ambiguous, and can become clear only while the write may still take
            // effect.
            Ok(Err(error)) if counts && error.reason() == Reason::WriteOutcomeUnknown => {
                return Err(error);
            }
            Ok(Err(error)) => {
                tracing::debug!(target: "gateway", %error, "could not read back a write");
            }
            Err(_) => return Err(unknown(failure)),
        }
        if absent >= CONFIRMATIONS && is_last {
            return Ok(None);
        }
        // The jitter comes on top of the longest delay.
        let pause = until.pause(pauses.next().unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE));
        if Instant::now() + pause >= call.deadline {
            return Err(unknown(failure));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Looks once, or as often as it takes to rule out an effect that can no longer come.
async fn glance<T, F>(
    failure: &Error,
    until: Until,
    call: &Call,
    mut look: impl FnMut() -> F,
) -> Result<Option<T>>
where
    F: Future<Output = Result<Option<T>>>,
{
    for number in 0..CONFIRMATIONS {
        if number > 0 {
            tokio::time::sleep(GLANCE).await;
        }
        let is_over = until.is_over();
        let found = tokio::time::timeout_at(call.deadline, look());
        match found.await.map_err(|_| unknown(failure))?? {
            Some(found) => return Ok(Some(found)),
            None if is_over => {}
            None => return Err(failure.clone()),
        }
    }
    Ok(None)
}

/// Looks for the effect of an earlier write, and tells the cache what that may touch, after it was
/// `announced` to all replicas. A call tells it before it looks, because the effect may come
/// meanwhile. The gateway itself tells only what it has found: it may look for a day, and the cache
/// would keep nothing until then.
pub(crate) async fn noting<T>(
    cache: &Cache,
    target: Target,
    until: Until,
    announced: impl Future<Output = Result<()>>,
    search: impl Future<Output = Result<Option<T>>>,
) -> (Result<Option<T>>, Option<Write>) {
    if until.is_patient() {
        let found = match search.await {
            Ok(Some(found)) => found,
            result => return (result, None),
        };
        return match announced.await {
            Ok(()) => (Ok(Some(found)), Some(cache.write(target))),
            Err(error) => (Err(error), None),
        };
    }
    if let Err(error) = announced.await {
        return (Err(error), None);
    }
    let write = cache.write(target);
    (search.await, Some(write))
}

/// Announces to all replicas that an attempt finds out what an earlier one did.
pub(crate) async fn announced(attempt: Option<&Attempt>, permission: &Permission) -> Result<()> {
    match (attempt, permission.write()) {
        (Some(attempt), Some(write)) => {
            attempt.under(write);
            attempt.look().await
        }
        (None, _) | (_, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
