//! The gateway looks after writes in doubt by itself.

use super::{
    closing::{TOOK_EFFECT, close},
    restart::{Remembering, SLOW, THREE, next, remembering, with_doubt},
    *,
};
use crate::{cache::BackgroundTasks, gateway::idempotency::Doubt};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// By then, the gateway looks after a write whose caller was told.
const FIRST_LOOK: Duration = Duration::from_secs(38);
/// What it takes until everything is settled that can be.
const SETTLED: Duration = Duration::from_secs(75);

impl Bench {
    /// The gateway looks after its doubts until this is dropped.
    pub(super) fn settles(&self) -> BackgroundTasks {
        let tasks = BackgroundTasks::default();
        self.gateway.settle_doubts(&tasks);
        tasks
    }

    pub(super) async fn doubts(&self) -> Vec<Doubt> {
        self.gateway.doubts.store().doubts(0, 99).await.unwrap()
    }

    pub(super) async fn only_doubt(&self) -> Doubt {
        let [doubt] = <[Doubt; 1]>::try_from(self.doubts().await).unwrap();
        doubt
    }
}

/// A write of each kind, under an id or without one, whose process dies while the upstream carries
/// it out: then the next process, which no one asks for anything.
async fn interrupted(ids: [&str; 3]) -> (Bench, Arc<Remembering>) {
    let (mut bench, mut store) = remembering();
    bench.fake.put(1, Some("old"));
    for (kind, id) in ids.map(str::to_owned).into_iter().enumerate() {
        bench.fake.next(SLOW);
        let dying = with_doubt(&bench);
        let call = tokio::spawn(async move {
            match kind {
                0 => dying.create(&id, "a").await.map(drop),
                1 => dying.update(&id, "b").await.map(drop),
                _ => dying.delete(&id).await,
            }
        });
        sleep(Duration::from_millis(1)).await;
        (bench, store) = next(&bench, &store);
        call.await.unwrap().unwrap();
    }
    (bench, store)
}

#[tokio::test(start_paused = true)]
async fn what_took_effect_when_the_process_died_is_done_without_a_repeat() {
    for ids in [[ONE, TWO, THREE], [""; 3]] {
        let (bench, store) = interrupted(ids).await;
        // That of the update is over: another write has come since.
        assert_eq!(bench.doubts().await.len(), 3);
        let _tasks = bench.settles();
        sleep(10 * SECOND).await;
        // The profile that was changed is gone: that changed nothing.
        assert_eq!(bench.doubts().await.len(), 0, "{ids:?}");
        assert_eq!(bench.fake.writes(), 3, "nothing is sent again");
        let kept = if ids[0].is_empty() { 0 } else { 2 };
        assert_eq!(store.entries.lock().len(), kept);
        if kept > 0 {
            assert_eq!(bench.create(ONE, "a").await.unwrap().display_name, "a");
            bench.delete(THREE).await.unwrap();
            assert_eq!(bench.fake.writes(), 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_took_effect_is_what_a_repeat_gets() {
    let (bench, store) = remembering();
    bench.fake.put(1, Some("old"));
    bench.fake.next(SLOW);
    let dying = with_doubt(&bench);
    let call = tokio::spawn(async move { dying.update(ONE, "new").await });
    sleep(Duration::from_millis(1)).await;
    let (bench, _) = next(&bench, &store);
    call.await.unwrap().unwrap();
    assert_eq!(bench.doubts().await.len(), 1);
    let _tasks = bench.settles();
    sleep(10 * SECOND).await;
    assert_eq!(bench.doubts().await.len(), 0);
    bench.fake.put(1, Some("theirs"));
    assert_eq!(bench.update(ONE, "new").await.unwrap().display_name, "new", "the first answer");
    assert_eq!(bench.fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_effect_is_forgotten_once_it_can_have_none() {
    for ids in [[ONE, TWO, THREE], [""; 3]] {
        let bench = bench();
        let _tasks = bench.settles();
        bench.fake.put(1, Some("old"));
        for _ in 0..3 {
            bench.fake.next(LOST);
        }
        unknown(bench.create(ids[0], "a").await);
        unknown(bench.update(ids[1], "b").await);
        unknown(bench.delete(ids[2]).await);
        sleep(20 * SECOND).await;
        assert_eq!(bench.doubts().await.len(), 3, "it may still take effect");
        sleep(SETTLED).await;
        assert_eq!(bench.doubts().await.len(), 0, "{ids:?}");
        assert_eq!((bench.fake.writes(), bench.fake.names()), (3, vec!["old".to_owned()]));
        // So a repeat writes at once.
        let began = Instant::now();
        bench.create(ids[0], "a").await.unwrap();
        bench.update(ids[1], "b").await.unwrap();
        bench.delete(ids[2]).await.unwrap();
        assert_eq!((began.elapsed(), bench.fake.writes()), (Duration::ZERO, 6));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_effect_is_found_without_a_repeat_and_the_cache_learns_of_it() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update("", "new").await);
    let _tasks = bench.settles();
    sleep(2 * MINUTE - SECOND).await;
    assert_eq!(bench.doubts().await.len(), 0);

    bench.fake.next(LOST);
    unknown(bench.update("", "new").await);
    sleep(20 * SECOND).await;
    bench.fake.put(1, Some("new"));
    sleep(40 * SECOND).await;
    assert_eq!((bench.doubts().await.len(), bench.fake.writes()), (0, 2));
    assert_eq!(bench.get().await.unwrap(), "new");
    bench.fake.put(1, Some("newer"));
    assert_eq!(bench.get().await.unwrap(), "new", "the cache keeps it again");
}

#[tokio::test(start_paused = true)]
async fn looks_do_not_keep_the_cache_from_keeping() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update("", "new").await);
    bench.fake.put(1, Some("theirs"));
    let _tasks = bench.settles();
    sleep(5 * MINUTE).await;
    let looks = async || bench.only_doubt().await.looks.count;
    let seen = looks().await;
    for _ in 0..60 {
        if looks().await > seen {
            break;
        }
        sleep(MINUTE / 2).await;
    }
    assert!(looks().await > seen, "it has looked half a minute ago");
    assert_eq!(bench.get().await.unwrap(), "theirs");
    bench.fake.put(1, Some("and again"));
    assert_eq!(bench.get().await.unwrap(), "theirs", "the cache has it");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_takes_over_from_a_look_and_the_look_from_nothing() {
    let (bench, store) = remembering();
    bench.fake.next(SLOW);
    let dying = with_doubt(&bench);
    let call = tokio::spawn(async move { dying.create(ONE, "a").await });
    sleep(Duration::from_millis(1)).await;
    let (bench, _) = next(&bench, &store);
    bench.fake.list_takes(29 * SECOND);
    let _tasks = bench.settles();
    sleep(5 * SECOND).await;
    assert!(bench.only_doubt().await.is_attended, "it looks");
    bench.fake.list_takes(Duration::ZERO);
    // Another creation of the name does not wait for it.
    let began = Instant::now();
    let found = bench.create(ONE, "a").await.unwrap();
    assert_eq!((found.display_name.as_str(), bench.fake.writes()), ("a", 1));
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(bench.doubts().await.len(), 0);
    call.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_look_gives_way_to_another_write_of_the_same_name_and_comes_back() {
    let bench = bench();
    bench.fake.next(LOST);
    unknown(bench.create("", "a").await);
    bench.fake.list_takes(29 * SECOND);
    let _tasks = bench.settles();
    sleep(FIRST_LOOK).await;
    assert!(bench.only_doubt().await.is_attended, "it looks");
    bench.fake.list_takes(Duration::ZERO);
    let began = Instant::now();
    bench.create("", "a").await.unwrap();
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(bench.only_doubt().await.looks.count, 0, "it told nothing");
    sleep(SETTLED).await;
    assert_eq!((bench.doubts().await.len(), bench.fake.writes()), (0, 2));
    assert_eq!(bench.fake.names(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_comes_while_a_call_writes_waits_for_its_end() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update("", "new").await);
    bench.fake.next(Ends::After(50 * SECOND));
    let other = with_doubt(&bench);
    let slow = tokio::spawn(async move {
        let profile = Some(Profile {
            name: "backends/fake/profiles/1".into(),
            display_name: "x".into(),
            ..Profile::default()
        });
        let request = UpdateProfileRequest { profile, ..UpdateProfileRequest::default() };
        other.gateway.update_profile(&within(MINUTE), request).await
    });
    sleep(SECOND).await;
    let reads = bench.fake.reads();
    let _tasks = bench.settles();
    sleep(40 * SECOND).await;
    assert_eq!(bench.fake.reads(), reads);
    slow.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_settled_is_listed_with_the_reason_looked_at_rarely_and_dropped() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update(ONE, "new").await);
    bench.fake.put(1, Some("theirs"));
    let _tasks = bench.settles();
    sleep(10 * MINUTE).await;
    let doubt = bench.only_doubt().await;
    assert_eq!(doubt.looks.reason, "WRITE_OUTCOME_UNKNOWN");
    assert!(doubt.looks.message.contains("matches neither"), "{}", doubt.looks.message);
    assert!(doubt.looks.last_at.is_some() && doubt.looks.count > 3);
    let early = bench.only_doubt().await.looks.count;
    sleep(10 * 60 * MINUTE).await;
    let looks = bench.only_doubt().await.looks.count - early;
    assert!((15..30).contains(&looks), "{looks}");
    sleep(DAY).await;
    assert_eq!(bench.doubts().await.len(), 0);
    assert_eq!(bench.fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_cannot_be_asked_is_asked_again() {
    let (bench, store) = remembering();
    bench.fake.next(SLOW);
    let dying = with_doubt(&bench);
    let call = tokio::spawn(async move { dying.create("", "b").await });
    sleep(Duration::from_millis(1)).await;
    let (bench, store) = next(&bench, &store);
    call.await.unwrap().unwrap();
    bench.fake.cannot_list();
    let tasks = bench.settles();
    sleep(30 * MINUTE).await;
    let doubt = bench.only_doubt().await;
    assert_eq!(doubt.looks.reason, "UPSTREAM_PERMISSION_DENIED");
    assert!((20..60).contains(&doubt.looks.count), "{}", doubt.looks.count);
    tasks.shut_down().await;
    // The process after it knows that, and goes on.
    let (bench, store) = next(&bench, &store);
    assert!(bench.only_doubt().await.looks.count >= doubt.looks.count);
    bench.fake.can_list();
    let _tasks = bench.settles();
    sleep(2 * MINUTE).await;
    assert_eq!((bench.doubts().await.len(), bench.fake.writes()), (0, 1));
    assert!(store.entries.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_operator_ends_a_doubt_while_it_is_looked_at() {
    let bench = bench();
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    bench.fake.list_takes(29 * SECOND);
    let _tasks = bench.settles();
    sleep(FIRST_LOOK).await;
    let doubt = bench.only_doubt().await;
    assert!(doubt.is_attended, "it looks");
    close(&bench, &doubt, TOOK_EFFECT).await.unwrap();
    sleep(2 * MINUTE).await;
    let repeated = bench.create(ONE, "a").await.unwrap_err();
    assert_eq!((repeated.reason(), bench.fake.writes()), (Reason::RequestIdReused, 1));
}
