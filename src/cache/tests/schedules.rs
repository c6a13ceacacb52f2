//! Reads on a paused clock, which advances when all tasks wait.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, advance, sleep, timeout};

use super::bench::{Answer, Bench, SECOND, TTL, by, ok, one, settings};
use crate::{
    cache::{CacheSettings, Control, Outcome, Resource, Target, Value, flights::MAX_LOAD},
    error::Reason,
    pb::Encoded,
};

#[tokio::test(start_paused = true)]
async fn many_readers_share_one_load() {
    let bench = Bench::new(settings());
    bench.answers(Answer::Version(1), SECOND);
    let reads = futures_util::future::join_all((0..1000).map(|_| bench.get())).await;
    assert_eq!(bench.asked(), 1);
    let misses = reads.iter().filter(|read| **read == ok(1, Outcome::Miss, 1)).count();
    let shared = reads.iter().filter(|read| **read == ok(1, Outcome::Coalesced, 1)).count();
    assert_eq!((misses, shared), (1, 999));
    assert_eq!(bench.get().await, ok(1, Outcome::Hit, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_or_times_out_neither_ends_nor_starts_a_load() {
    let bench = Bench::new(settings());
    bench.answers(Answer::Version(1), 10 * SECOND);
    // The leader leaves.
    timeout(SECOND, bench.get()).await.unwrap_err();
    // The next one has a short deadline.
    let hasty = bench.read(Control::default(), SECOND).await;
    assert_eq!(hasty, (Err(Reason::DeadlineExceeded), Outcome::Coalesced, None));
    assert_eq!(bench.get().await, ok(1, Outcome::Coalesced, 10));
    assert_eq!(bench.get().await, ok(1, Outcome::Hit, 10));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_hangs_is_abandoned() {
    let bench = Bench::new(settings());
    bench.answers(Answer::Version(1), MAX_LOAD * 2);
    let hung = bench.read(Control::default(), MAX_LOAD * 3).await;
    assert_eq!(hung, (Err(Reason::UpstreamUnavailable), Outcome::Miss, None));
    bench.answers(Answer::Version(2), Duration::ZERO);
    assert_eq!(bench.get().await, ok(2, Outcome::Miss, 0));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_panics_fails_the_waiting_readers() {
    let bench = Bench::new(settings());
    let resource = Resource::Profile("SP_1".into());
    let deadline = Instant::now() + SECOND;
    let load = |_, _| async { panic!("in a test") };
    let (result, _) = bench.cache.read(&resource, Control::default(), by(deadline), load).await;
    assert_eq!(result.unwrap_err().reason(), Reason::GatewayInternal);
    assert_eq!(bench.get().await, ok(1, Outcome::Miss, 0));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_loads() {
    let bench = Bench::new(settings());
    bench.answers(Answer::Version(1), 100 * SECOND);
    timeout(SECOND, bench.get()).await.unwrap_err();
    timeout(SECOND, bench.background.shut_down()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_load_from_before_a_write_does_not_serve_later_readers() {
    let bench = Arc::new(Bench::new(settings()));
    for unknown in [false, true] {
        bench.answers(Answer::Version(1), 10 * SECOND);
        let reader = Arc::clone(&bench);
        let early = tokio::spawn(async move { reader.get().await });
        bench.settle().await;
        bench.cache.write(one()).end(unknown);
        bench.answers(Answer::Version(2), SECOND);
        assert_eq!(bench.get().await.0, Ok(2), "joined a load from before the write");
        assert_eq!(early.await.unwrap().0, Ok(1), "it began before the write");
        let later = bench.get().await;
        assert_eq!(later.0, Ok(2), "an old value filled the cache");
        assert_eq!(later.1 == Outcome::Hit, !unknown, "unsettled values are not kept");
        advance(120 * SECOND).await;
        bench.cache.purge();
    }
    assert!(bench.metrics.rejected() >= 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_while_a_write_runs() {
    let bench = Bench::new(settings());
    assert_eq!(bench.get().await.1, Outcome::Miss);
    let write = bench.cache.write(one());
    assert_eq!(bench.get().await.1, Outcome::Miss);
    assert_eq!(bench.get().await.1, Outcome::Miss);
    write.end(false);
    assert_eq!(bench.get().await.1, Outcome::Miss);
    assert_eq!(bench.get().await.1, Outcome::Hit);
    // A panic ends it too.
    drop(bench.cache.write(one()));
    assert_eq!(bench.get().await.1, Outcome::Miss);
    assert_eq!(bench.get().await.1, Outcome::Miss, "its outcome is unknown");
}

#[tokio::test(start_paused = true)]
async fn an_expired_value_is_served_while_it_is_read_again() {
    let bench = Bench::new(settings());
    let _ = bench.get().await;
    advance(TTL + SECOND).await;
    bench.answers(Answer::Version(2), SECOND);
    assert_eq!(bench.get().await, ok(1, Outcome::Stale, 31));
    assert_eq!(bench.get().await, ok(1, Outcome::Stale, 31));
    sleep(2 * SECOND).await;
    assert_eq!(bench.get().await, ok(2, Outcome::Hit, 2));
    assert_eq!(bench.asked(), 2);
    // Never after a write.
    advance(TTL + SECOND).await;
    bench.cache.write(one()).end(false);
    assert_eq!(bench.get().await.1, Outcome::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_write_during_a_refresh_wins() {
    let bench = Bench::new(settings());
    let _ = bench.get().await;
    advance(TTL + SECOND).await;
    bench.answers(Answer::Version(1), 10 * SECOND);
    assert_eq!(bench.get().await.1, Outcome::Stale);
    bench.settle().await;
    bench.cache.write(one()).end(false);
    bench.answers(Answer::Version(2), Duration::ZERO);
    sleep(20 * SECOND).await;
    assert_eq!(bench.get().await, ok(2, Outcome::Miss, 0));
}

#[tokio::test(start_paused = true)]
async fn an_old_value_is_served_for_a_limited_time_if_the_upstream_fails() {
    let bench = Bench::new(settings());
    let _ = bench.get().await;
    advance(100 * SECOND).await;
    for reason in [Reason::UpstreamUnavailable, Reason::UpstreamInternal, Reason::Overloaded] {
        bench.answers(Answer::Fails(reason), Duration::ZERO);
        assert_eq!(bench.get().await.1, Outcome::Stale, "{reason:?}");
        advance(2 * SECOND).await;
    }
    // A timeout is a failure too.
    bench.answers(Answer::Version(2), 10 * SECOND);
    assert_eq!(bench.read(Control::default(), SECOND).await.1, Outcome::Stale);
    sleep(20 * SECOND).await;
    assert_eq!(bench.get().await, ok(2, Outcome::Hit, 21));
    // Beyond the limit it is not served.
    advance(TTL + 601 * SECOND).await;
    bench.answers(Answer::Fails(Reason::UpstreamUnavailable), Duration::ZERO);
    assert_eq!(bench.get().await, (Err(Reason::UpstreamUnavailable), Outcome::Miss, None));
}

#[tokio::test(start_paused = true)]
async fn no_old_value_is_served_after_a_refusal_or_a_write() {
    let refusals = [
        Reason::UpstreamPermissionDenied,
        Reason::UpstreamAuthFailed,
        Reason::UpstreamAccountLocked,
        Reason::ProfileNotFound,
    ];
    for reason in refusals {
        let bench = Bench::new(settings());
        let _ = bench.get().await;
        advance(100 * SECOND).await;
        bench.answers(Answer::Fails(reason), Duration::ZERO);
        assert_eq!(bench.get().await.0, Err(reason));
    }
    // A write that ends while the upstream fails.
    let bench = Arc::new(Bench::new(settings()));
    let _ = bench.get().await;
    advance(100 * SECOND).await;
    bench.answers(Answer::Fails(Reason::UpstreamUnavailable), 10 * SECOND);
    let reader = Arc::clone(&bench);
    let read = tokio::spawn(async move { reader.get().await });
    bench.settle().await;
    bench.cache.write(one()).end(false);
    assert_eq!(read.await.unwrap().0, Err(Reason::UpstreamUnavailable));
}

#[tokio::test(start_paused = true)]
async fn the_only_error_remembered_is_an_absence_and_a_creation_ends_it() {
    let bench = Bench::new(settings());
    bench.answers(Answer::Fails(Reason::UpstreamInternal), Duration::ZERO);
    let _ = bench.get().await;
    let _ = bench.get().await;
    assert_eq!(bench.asked(), 2);
    bench.answers(Answer::Fails(Reason::ProfileNotFound), Duration::ZERO);
    let absent = |outcome| (Err(Reason::ProfileNotFound), outcome);
    let get = async || {
        let (result, outcome, _) = bench.get().await;
        (result, outcome)
    };
    assert_eq!(get().await, absent(Outcome::Miss));
    assert_eq!(bench.metrics.negatives(), 0);
    assert_eq!(get().await, absent(Outcome::Hit));
    assert_eq!(bench.metrics.negatives(), 1);
    bench.cache.write(Target::New).end(false);
    assert_eq!(get().await, absent(Outcome::Miss), "after a creation");
    advance(6 * SECOND).await;
    assert_eq!(get().await, absent(Outcome::Miss), "remembered for too long");
    // Nor is it served if the upstream fails.
    advance(6 * SECOND).await;
    bench.answers(Answer::Fails(Reason::UpstreamUnavailable), Duration::ZERO);
    assert_eq!(get().await, (Err(Reason::UpstreamUnavailable), Outcome::Miss));
}

#[tokio::test(start_paused = true)]
async fn callers_control_the_maximum_age() {
    let bench = Bench::new(settings());
    let control = |text: &str| Control::parse([text.as_bytes()]).unwrap();
    let read = async |text: &str| bench.read(control(text), 60 * SECOND).await;
    assert_eq!(read("only-if-cached").await, (Err(Reason::CacheMiss), Outcome::Miss, None));
    assert_eq!(read("").await, ok(1, Outcome::Miss, 0));
    advance(10 * SECOND).await;
    assert_eq!(read("max-age=10").await, ok(1, Outcome::Hit, 10));
    assert_eq!(read("only-if-cached").await, ok(1, Outcome::Hit, 10));
    assert_eq!(read("only-if-cached, max-age=9").await.0, Err(Reason::CacheMiss));
    bench.answers(Answer::Version(2), Duration::ZERO);
    assert_eq!(read("max-age=9").await, ok(2, Outcome::Miss, 0));
    bench.answers(Answer::Version(3), Duration::ZERO);
    assert_eq!(read("no-cache").await, ok(3, Outcome::Bypass, 0));
    assert_eq!(read("").await, ok(3, Outcome::Hit, 0), "the new value was not kept");
    assert_eq!(read("no-cache, only-if-cached").await.0, Err(Reason::CacheMiss));
    // An expired value is never good enough for `max-age`, and `only-if-cached` does not refresh
    // it.
    advance(TTL + SECOND).await;
    assert_eq!(read("max-age=100").await.1, Outcome::Miss);
    advance(TTL + SECOND).await;
    let asked = bench.asked();
    assert_eq!(read("only-if-cached").await.1, Outcome::Stale);
    bench.settle().await;
    assert_eq!(bench.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn the_load_that_began_later_wins() {
    let bench = Arc::new(Bench::new(settings()));
    bench.answers(Answer::Version(1), 10 * SECOND);
    let reader = Arc::clone(&bench);
    let early = tokio::spawn(async move { reader.get().await });
    bench.settle().await;
    advance(SECOND).await;
    // Another client has changed it upstream.
    bench.answers(Answer::Version(2), Duration::ZERO);
    let no_cache = Control { no_cache: true, ..Control::default() };
    assert_eq!(bench.read(no_cache, SECOND).await.0, Ok(2));
    let max_age = Control { max_age: Some(Duration::ZERO), ..Control::default() };
    assert_eq!(bench.read(max_age, SECOND).await.0, Ok(2), "joined an older load");
    assert_eq!(early.await.unwrap().0, Ok(1));
    assert_eq!(bench.get().await.0, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_purge_drops_kept_values_and_loads_in_progress() {
    let bench = Arc::new(Bench::new(settings()));
    let _ = bench.get().await;
    let _ = bench.read_of("SP_2", Control::default(), SECOND).await;
    assert_eq!(bench.cache.purge_profile("SP_1"), 1);
    assert_eq!(bench.cache.purge_profile("SP_1"), 0);
    assert_eq!(bench.get().await.1, Outcome::Miss);
    assert_eq!(bench.cache.purge(), 2);
    bench.answers(Answer::Version(1), SECOND);
    let reader = Arc::clone(&bench);
    let early = tokio::spawn(async move { reader.get().await });
    bench.settle().await;
    assert_eq!(bench.cache.purge(), 0);
    assert_eq!(early.await.unwrap().1, Outcome::Miss);
    assert_eq!(bench.get().await.1, Outcome::Miss, "kept by a load from before the purge");
}

#[tokio::test(start_paused = true)]
async fn a_list_fills_profiles_only_if_lists_are_complete() {
    for complete in [true, false] {
        let bench = Bench::with(settings(), complete);
        let list = vec![("SP_1".into(), Encoded::from_bytes([7]))];
        let load = |_, _| async { Ok(Value::Profiles(Arc::new(list.into_iter().collect()))) };
        let deadline = Instant::now() + SECOND;
        let (list, _) =
            bench.cache.read(&Resource::Profiles, Control::default(), by(deadline), load).await;
        assert!(matches!(list, Ok(Value::Profiles(_))));
        let expected = if complete { ok(7, Outcome::Hit, 0) } else { ok(1, Outcome::Miss, 0) };
        assert_eq!(bench.get().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_entries_expire_at_different_times() {
    let bench = Bench::new(CacheSettings { max_bytes: 100_000, ..settings() });
    for n in 0..2000 {
        let _ = bench.read_of(&format!("SP_{n}"), Control::default(), SECOND).await;
    }
    bench.cache.0.entries.run_pending_tasks();
    let (entries, bytes) = bench.cache.size();
    assert!(entries > 100 && bytes <= 100_000, "{entries} entries with {bytes} bytes");
    let mut ends: Vec<u64> = bench.cache.0.entries.iter().map(|(_, e)| e.fresh_until).collect();
    ends.sort_unstable();
    ends.dedup();
    assert!(ends.len() > 50, "all expire together");
    assert!(ends.iter().all(|end| (27_000..=30_000).contains(end)), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_every_read_asks_the_upstream() {
    let bench = Bench::new(CacheSettings { enabled: false, ..settings() });
    assert_eq!(bench.get().await, ok(1, Outcome::Bypass, 0));
    assert_eq!(bench.get().await, ok(1, Outcome::Bypass, 0));
    assert_eq!((bench.asked(), bench.cache.size().0), (2, 0));
}
