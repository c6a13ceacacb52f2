//! What a search for the effect of a write finds, and how long it goes on.

use std::sync::Arc;

use super::*;
use crate::{cache::Control, call::Admitted};

fn ending(deadline: Instant) -> Call {
    let admitted = Admitted { deadline, record: Arc::default(), leave: None };
    admitted.into_call(Control::default())
}

const SECOND: Duration = Duration::from_secs(1);
const SETTLE_TIME: Duration = Duration::from_secs(5);

fn failure(effect: Effect) -> Error {
    Error::new(Reason::UpstreamInternal, "failed").with_effect(effect)
}

#[test]
fn no_failure_in_doubt_is_unavailable() {
    for retry in [Retry::No, Retry::After(None)] {
        let failure = Error::new(Reason::UpstreamUnavailable, "lost").with_effect(Effect::Unknown);
        let told = in_doubt(failure.with_retry(retry));
        assert_eq!(told.reason(), Reason::WriteOutcomeUnknown, "{retry:?}");
    }
    let pausing = in_doubt(failure(Effect::Unconfirmed).with_retry(Retry::After(None)));
    assert_eq!(pausing.reason(), Reason::WriteOutcomeUnknown, "nor does it say to come again");
    let reported = in_doubt(failure(Effect::Unconfirmed).with_retry(Retry::No));
    assert_eq!(reported.reason(), Reason::UpstreamInternal);
}

/// Looks at these answers, and at the last one again and again, for at most 20 seconds.
async fn looked(failure: Error, answers: &[Option<bool>]) -> (Result<()>, usize) {
    let deadline = Instant::now() + 20 * SECOND;
    let mut looks = 0;
    let result = reconcile(failure, SETTLE_TIME, &ending(deadline), || {
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

async fn reconciled(effect: Effect, answers: &[Option<bool>]) -> (Result<()>, usize) {
    looked(failure(effect), answers).await
}

#[tokio::test(start_paused = true)]
async fn a_definite_failure_is_not_read_back() {
    let (result, looks) = reconciled(Effect::None, &[Some(true)]).await;
    assert_eq!((result.unwrap_err().reason(), looks), (Reason::UpstreamInternal, 0));
}

#[tokio::test(start_paused = true)]
async fn a_late_effect_is_found() {
    let answers = [Some(false), Some(false), Some(false), None, Some(true)];
    for effect in [Effect::Unknown, Effect::Unconfirmed] {
        assert!(reconciled(effect, &answers).await.0.is_ok(), "{effect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn looks_go_on_until_shortly_before_the_deadline() {
    for _ in 0..20 {
        let (began, mut last) = (Instant::now(), Instant::now());
        let look = || {
            assert!(last.elapsed() <= LONGEST_PAUSE, "{:?}", last.elapsed());
            last = Instant::now();
            async { Ok(None::<()>) }
        };
        let call = ending(began + 20 * SECOND);
        let error = reconcile(failure(Effect::Unknown), SETTLE_TIME, &call, look).await;
        assert_eq!(error.unwrap_err().reason(), Reason::WriteOutcomeUnknown);
        assert!(last >= began + 20 * SECOND - LONGEST_PAUSE, "{:?}", last - began);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reported_failure_is_confirmed_for_the_settle_time_and_stays_in_doubt() {
    let began = Instant::now();
    let (result, looks) = reconciled(Effect::Unconfirmed, &[None, Some(false)]).await;
    let error = result.unwrap_err();
    let told = (error.reason(), error.effect());
    assert_eq!(told, (Reason::UpstreamInternal, Effect::Unconfirmed));
    assert_eq!(began.elapsed(), SETTLE_TIME);
    assert!((4..10).contains(&looks), "{looks}");
}

#[tokio::test(start_paused = true)]
async fn a_reported_failure_is_confirmed_by_three_reads_at_least() {
    let (call, mut looks) = (ending(Instant::now() + 20 * SECOND), 0);
    let doubt = failure(Effect::Unconfirmed);
    let result = reconcile(doubt, Duration::ZERO, &call, || {
        looks += 1;
        async { Ok(None::<()>) }
    });
    assert_eq!(result.await.unwrap_err().reason(), Reason::UpstreamInternal);
    assert_eq!(looks, CONFIRMATIONS);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_settle_time_leaves_it_unknown() {
    let call = ending(Instant::now() + SETTLE_TIME - SECOND);
    let look = || async { Ok(None::<()>) };
    let result = reconcile(failure(Effect::Unconfirmed), SETTLE_TIME, &call, look).await;
    assert_eq!(result.unwrap_err().reason(), Reason::WriteOutcomeUnknown);
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_doubt_never_invites_to_write_again() {
    let down = Error::new(Reason::UpstreamUnavailable, "down").with_effect(Effect::Unconfirmed);
    let error = looked(down, &[Some(false)]).await.0.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::WriteOutcomeUnknown, Retry::No));
    assert_eq!(error.kind(), Kind::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_ruled_out_by_three_reads_after_it_is_over() {
    let doubt = failure(Effect::Unknown);
    let started = Instant::now();
    for wait in [0, 10] {
        let over = Instant::now() + Duration::from_secs(wait);
        let (mut looks, mut after) = (0, 0);
        let call = ending(over + 20 * SECOND);
        let found = search(&doubt, Until::Over(over), &call, || {
            looks += 1;
            after += u32::from(Instant::now() >= over);
            async { Ok(None::<()>) }
        });
        assert!(found.await.unwrap().is_none());
        assert_eq!(after, CONFIRMATIONS);
        assert_eq!(looks > CONFIRMATIONS, wait > 0);
    }
    assert!(started.elapsed() >= 10 * SECOND);
    let deadline = Instant::now() + 5 * SECOND;
    let over = Until::Over(deadline + Duration::from_millis(1));
    let call = ending(deadline);
    let unclear = search(&doubt, over, &call, || async { Ok(None::<()>) }).await;
    assert_eq!(unclear.unwrap_err().reason(), Reason::WriteOutcomeUnknown);
}

#[tokio::test(start_paused = true)]
async fn who_has_time_looks_once_and_three_times_after_it_is_over() {
    let doubt = failure(Effect::Unknown);
    let over = Instant::now() + 10 * SECOND;
    let call = ending(over + 20 * SECOND);
    let looked = async |answer: Result<Option<()>>| {
        let mut looks = 0;
        let found = search(&doubt, Until::Patiently(over), &call, || {
            looks += 1;
            let answer = answer.clone();
            async { answer }
        });
        let found = found.await.map_err(|error| error.reason());
        (found, looks)
    };
    assert_eq!(looked(Ok(None)).await, (Err(doubt.reason()), 1));
    assert_eq!(looked(Ok(Some(()))).await, (Ok(Some(())), 1));
    let down = Error::new(Reason::UpstreamThrottled, "not now");
    assert_eq!(looked(Err(down)).await, (Err(Reason::UpstreamThrottled), 1), "it says why");
    tokio::time::advance(10 * SECOND).await;
    assert_eq!(looked(Ok(None)).await, (Ok(None), CONFIRMATIONS));
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_never_shows_stays_unknown() {
    for answers in [[Some(false)], [None]] {
        let (result, looks) = reconciled(Effect::Unknown, &answers).await;
        let error = result.unwrap_err();
        assert_eq!((error.reason(), error.kind()), (Reason::WriteOutcomeUnknown, Kind::Unknown));
        assert!(looks > 5);
    }
}
