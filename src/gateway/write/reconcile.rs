//! Finds out the outcome of a write whose answer was lost: reads back until the effect shows or the
//! deadline passes.

use std::{future::Future, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use crate::{
    call::Call,
    error::{Effect, Error, Reason, Result},
    gateway::write::outcome::unknown,
};

/// How many reads must confirm that a write has no effect, after the upstream reported that it
/// failed or when it can no longer take effect.
const CONFIRMATIONS: u32 = 3;

/// Looks for the effect of a failed write. `look` returns the result if the effect is visible,
/// `None` if it is not, and an error if it cannot tell.
pub(crate) async fn reconcile<T, F>(
    failure: Error,
    call: &Call,
    look: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    if failure.effect() == Effect::None {
        return Err(failure);
    }
    let found = search(&failure, None, call, look).await?;
    found.ok_or_else(|| match failure.facts().leaves_doubt {
        // A retry with the same request_id looks again.
        true => failure,
        false => failure.with_effect(Effect::None),
    })
}

/// The same for a write that an earlier call sent. `None` means that it has no effect: none is
/// visible, and after `over` the write can no longer take effect.
pub(crate) async fn search<T, F>(
    failure: &Error,
    over: Option<Instant>,
    call: &Call,
    mut look: impl FnMut() -> F,
) -> Result<Option<T>>
where
    F: Future<Output = Result<Option<T>>>,
{
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(3))
        .with_jitter()
        .without_max_times()
        .build();
    let mut absent = 0;
    loop {
        let failed = failure.effect() == Effect::Unconfirmed;
        let counts = failed || over.is_some_and(|over| over <= Instant::now());
        match tokio::time::timeout_at(call.deadline, look()).await {
            Ok(Ok(Some(found))) => {
                let (method, resource) = call.record.writing().unwrap_or_default();
                tracing::info!(
                    target: "gateway", method, resource, %failure,
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
        if absent >= CONFIRMATIONS {
            return Ok(None);
        }
        let pause = pauses.next().unwrap_or(Duration::from_secs(3));
        if Instant::now() + pause >= call.deadline {
            return Err(unknown(failure));
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{cache::Control, call::Admitted, error::Kind};

    fn until(deadline: Instant) -> Call {
        let admitted = Admitted { deadline, record: Arc::default(), leave: None };
        admitted.into_call(Control::default())
    }

    fn failure(effect: Effect) -> Error {
        Error::new(Reason::UpstreamInternal, "failed").with_effect(effect)
    }

    async fn reconciled(effect: Effect, answers: &[Option<bool>]) -> (Result<()>, usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut looks = 0;
        let result = reconcile(failure(effect), &until(deadline), || {
            let answer = answers.get(looks).or(answers.last()).copied().flatten();
            looks += 1;
            async move {
                match answer {
                    Some(there) => Ok(there.then_some(())),
                    None => Err(Error::new(Reason::UpstreamUnavailable, "down")),
                }
            }
        })
        .await;
        (result, looks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_definite_failure_is_not_read_back() {
        let (result, looks) = reconciled(Effect::None, &[Some(true)]).await;
        assert_eq!((result.unwrap_err().reason(), looks), (Reason::UpstreamInternal, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_effect_is_found() {
        let answers = [Some(false), Some(false), Some(false), None, Some(true)];
        assert!(reconciled(Effect::Unknown, &answers).await.0.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reported_failure_is_definite_once_confirmed() {
        let (result, looks) = reconciled(Effect::Unconfirmed, &[None, Some(false)]).await;
        let error = result.unwrap_err();
        assert_eq!((error.reason(), looks), (Reason::UpstreamInternal, 4));
        assert!(reconciled(Effect::Unconfirmed, &[Some(false), Some(true)]).await.0.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_ruled_out_by_three_reads_after_it_is_over() {
        let doubt = failure(Effect::Unknown);
        let started = Instant::now();
        for wait in [0, 10] {
            let over = Instant::now() + Duration::from_secs(wait);
            let (mut looks, mut after) = (0, 0);
            let call = until(over + Duration::from_secs(20));
            let found = search(&doubt, Some(over), &call, || {
                looks += 1;
                after += u32::from(Instant::now() >= over);
                async { Ok(None::<()>) }
            });
            assert!(found.await.unwrap().is_none());
            assert_eq!(after, CONFIRMATIONS);
            assert_eq!(looks > CONFIRMATIONS, wait > 0);
        }
        assert!(started.elapsed() >= Duration::from_secs(10));
        let deadline = Instant::now() + Duration::from_secs(5);
        let over = deadline + Duration::from_millis(1);
        let call = until(deadline);
        let unclear = search(&doubt, Some(over), &call, || async { Ok(None::<()>) }).await;
        assert_eq!(unclear.unwrap_err().reason(), Reason::WriteOutcomeUnknown);
    }

    #[tokio::test(start_paused = true)]
    async fn an_effect_that_never_shows_stays_unknown() {
        for answers in [[Some(false)], [None]] {
            let (result, looks) = reconciled(Effect::Unknown, &answers).await;
            let error = result.unwrap_err();
            assert_eq!(
                (error.reason(), error.kind()),
                (Reason::WriteOutcomeUnknown, Kind::Unknown)
            );
            assert!(looks > 5);
        }
    }
}
