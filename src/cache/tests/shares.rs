//! Loads that concern one caller alone, beside readers of another one.

use std::{future::Ready, time::Duration};

use tokio::time::{Instant, advance, sleep};

use super::bench::{Answer, Bench, SECOND, TTL, by, ok, profile, settings};
use crate::{
    cache::{Control, Load, Outcome, Readers, Resource, Value},
    caller::CallerId,
    error::{Error, Reason, Result},
};

/// Reads of two callers: the others of [`by`], and another one.
fn other(deadline: Instant) -> (CallerId, Instant) {
    (CallerId::network([192, 0, 2, 1].into(), 32, 64), deadline)
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_or_concerns_one_caller_pauses_no_reads() {
    for (reason, is_sent) in [
        (Reason::CallerQuotaExceeded, false),
        (Reason::CallerQuotaExceeded, true),
        (Reason::UpstreamThrottled, false),
        (Reason::Overloaded, false),
        (Reason::UpstreamUnavailable, true),
    ] {
        let bench = Bench::new(settings());
        let _ = bench.get().await;
        advance(100 * SECOND).await;
        let load = |_, readers: Option<Readers>| async move {
            if is_sent {
                readers.expect("a load for several readers").goes_on();
            }
            Err(Error::new(reason, "no"))
        };
        let (resource, until) = (Resource::Profile("SP_1".into()), Instant::now() + SECOND);
        let (_, served) = bench.cache.read(&resource, Control::default(), by(until), load).await;
        assert_eq!(served.outcome, Outcome::Stale);
        bench.answers(Answer::Version(2), Duration::ZERO);
        let pauses = reason == Reason::UpstreamUnavailable;
        let expected = if pauses { ok(1, Outcome::Stale, 100) } else { ok(2, Outcome::Miss, 0) };
        assert_eq!(bench.get().await, expected, "{reason:?} {is_sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_joined_a_load_that_is_its_caller_s_alone_goes_on_with_another() {
    for is_refused in [true, false] {
        let (bench, began) = (Bench::new(settings()), Instant::now());
        let load = |_, readers: Option<Readers>| async move {
            sleep(2 * SECOND).await;
            if !is_refused {
                readers.expect("a load for several readers").queues(true);
                sleep(10 * SECOND).await;
            }
            Err(Error::new(Reason::CallerQuotaExceeded, "no"))
        };
        let resource = Resource::Profile("SP_1".into());
        let until = began + 60 * SECOND;
        let greedy = bench.cache.read(&resource, Control::default(), other(until), load);
        let same = async {
            sleep(SECOND).await;
            let load = |_, _| async { panic!("it waits for the first one") };
            bench.cache.read(&resource, Control::default(), other(until), load).await
        };
        let joined = async {
            sleep(SECOND).await;
            let read = bench.get().await;
            (read, began.elapsed().as_secs())
        };
        let (greedy, same, joined) = tokio::join!(greedy, same, joined);
        for (result, _) in [greedy, same] {
            assert_eq!(result.unwrap_err().reason(), Reason::CallerQuotaExceeded);
        }
        assert_eq!(joined, (ok(1, Outcome::Miss, 0), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_list_waits_for_no_share_of_another_caller() {
    for queues_after in [0, 3] {
        let (bench, began) = (Bench::new(settings()), Instant::now());
        let until = began + 60 * SECOND;
        let fresh = Control { no_cache: true, ..Control::default() };
        let load = |_, readers: Option<Readers>| async move {
            sleep(queues_after * SECOND).await;
            readers.expect("a load for several readers").queues(true);
            sleep(30 * SECOND).await;
            Ok(profile(1))
        };
        let greedy = bench.cache.read(&Resource::Profiles, fresh, other(until), load);
        let well = async {
            sleep(SECOND).await;
            let load = |_, _| async { Ok(profile(2)) };
            let read = bench.cache.read(&Resource::Profiles, fresh, by(until), load).await;
            (read.0.is_ok(), began.elapsed().as_secs())
        };
        let (greedy, well) = tokio::join!(greedy, well);
        assert_eq!((greedy.0.is_ok(), well), (true, (true, u64::from(queues_after.max(1)))));
    }
}

/// A load that is refused at once.
struct Refused;

impl Load<Ready<Result<Value>>> for Refused {
    fn admits(&self) -> Result<()> {
        Err(Error::new(Reason::CallerQuotaExceeded, "no"))
    }

    fn begin(self, _: Instant, _: Option<Readers>) -> Ready<Result<Value>> {
        panic!("it was not admitted")
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_is_refused_at_once_leaves_nothing_behind() {
    let (bench, resource) = (Bench::new(settings()), Resource::Profile("SP_1".into()));
    let refused = async |resource: &Resource, control| {
        let read = bench.cache.read(resource, control, by(Instant::now() + SECOND), Refused);
        let (result, served) = read.await;
        (result.map(drop).map_err(|error| error.reason()), served.outcome)
    };
    let no = Err(Reason::CallerQuotaExceeded);
    let past = Control { no_cache: true, ..Control::default() };
    assert_eq!(refused(&resource, Control::default()).await, (no, Outcome::Miss));
    assert_eq!(refused(&resource, past).await, (no, Outcome::Bypass));
    assert_eq!(refused(&Resource::Profiles, past).await, (no, Outcome::Bypass));
    assert_eq!(bench.background.running(), 0, "no task");
    // The next one reads, and later an older value hides the refusal.
    assert_eq!(bench.get().await, ok(1, Outcome::Miss, 0));
    advance(100 * SECOND).await;
    assert_eq!(refused(&resource, Control::default()).await, (Ok(()), Outcome::Stale));
    bench.answers(Answer::Version(2), Duration::ZERO);
    assert_eq!(bench.get().await, ok(2, Outcome::Miss, 0));
    // One that reads in the background is not made either.
    advance(TTL + SECOND).await;
    assert_eq!(refused(&resource, Control::default()).await, (Ok(()), Outcome::Stale));
    assert_eq!(bench.background.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_whose_own_load_would_be_refused_joins_that_of_another() {
    let (bench, resource) = (Bench::new(settings()), Resource::Profile("SP_1".into()));
    bench.answers(Answer::Version(1), SECOND);
    let until = Instant::now() + 60 * SECOND;
    let joins = async {
        sleep(SECOND / 2).await;
        bench.cache.read(&resource, Control::default(), other(until), Refused).await
    };
    let (first, (joined, served)) = tokio::join!(bench.get(), joins);
    assert_eq!(first, ok(1, Outcome::Miss, 1));
    assert_eq!((joined.is_ok(), served.outcome), (true, Outcome::Coalesced));
}
