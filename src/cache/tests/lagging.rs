//! Reads that lag behind an acknowledged write.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::bench::{Answer, Bench, SECOND, by, ok, one, settings};
use crate::{
    cache::{Acknowledged, Control, List, Outcome, Resource, Target, Value},
    error::Reason,
    pb::Encoded,
};

const SETTLE_TIME: Duration = Duration::from_secs(5);

/// A write of SP_1 that makes it version 2.
fn updated() -> Acknowledged {
    Acknowledged::Written(Arc::new(|found| found.bytes() != [2]))
}

fn write(bench: &Bench, target: Target, what: Acknowledged) {
    let mut write = bench.cache.write(target);
    write.acknowledged("SP_1", what, SETTLE_TIME);
    write.end(false);
}

async fn list(bench: &Bench, shows: &[(&str, u8)]) -> (Vec<String>, Outcome) {
    list_of(bench, &Resource::Profiles, shows).await
}

async fn list_of(
    bench: &Bench,
    resource: &Resource,
    shows: &[(&str, u8)],
) -> (Vec<String>, Outcome) {
    let each = shows.iter().map(|(id, version)| ((*id).into(), Encoded::from_bytes([*version])));
    let shown: Arc<List> = Arc::new(each.collect());
    let load = |_, _| async move { Ok(Value::Profiles(shown)) };
    let deadline = Instant::now() + SECOND;
    let read = bench.cache.read(resource, Control::default(), by(deadline), load);
    let (Ok(Value::Profiles(list)), served) = read.await else { panic!("no list") };
    (list.iter().map(|(id, _)| id.to_string()).collect(), served.outcome)
}

#[tokio::test(start_paused = true)]
async fn an_older_value_is_served_but_not_kept() {
    let bench = Bench::new(settings());
    write(&bench, one(), updated());
    for _ in 0..2 {
        assert_eq!(bench.get().await, ok(1, Outcome::Miss, 0));
    }
    bench.answers(Answer::Version(2), Duration::ZERO);
    assert_eq!(bench.get().await, ok(2, Outcome::Miss, 0));
    assert_eq!(bench.get().await, ok(2, Outcome::Hit, 0));
}

#[tokio::test(start_paused = true)]
async fn after_the_settle_time_the_upstream_is_believed() {
    let bench = Bench::new(settings());
    write(&bench, one(), updated());
    sleep(SETTLE_TIME).await;
    assert_eq!(bench.get().await, ok(1, Outcome::Miss, 0));
    assert_eq!(bench.get().await, ok(1, Outcome::Hit, 0));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_profile_is_not_served() {
    let bench = Bench::new(settings());
    write(&bench, one(), Acknowledged::Deleted);
    for _ in 0..2 {
        assert_eq!(bench.get().await, (Err(Reason::ProfileNotFound), Outcome::Miss, Some(0)));
    }
    assert_eq!(bench.asked(), 2, "the absence is not kept either");
    for _ in 0..2 {
        for resource in [Resource::Profiles, Resource::Brief] {
            let seen = list_of(&bench, &resource, &[("SP_1", 1), ("SP_2", 1)]).await;
            assert_eq!(seen, (vec!["SP_2".to_owned()], Outcome::Miss), "{resource:?}");
        }
    }
    sleep(SETTLE_TIME).await;
    assert_eq!(bench.get().await, ok(1, Outcome::Miss, 0));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_lacks_a_write_is_not_kept() {
    for lagging in [&[("SP_2", 1)][..], &[("SP_1", 1), ("SP_2", 1)]] {
        let bench = Bench::new(settings());
        write(&bench, Target::New, updated());
        let ids: Vec<String> = lagging.iter().map(|(id, _)| (*id).to_owned()).collect();
        for _ in 0..2 {
            assert_eq!(list(&bench, lagging).await, (ids.clone(), Outcome::Miss));
        }
        let whole = [("SP_1", 2), ("SP_2", 1)];
        assert_eq!(list(&bench, &whole).await.1, Outcome::Miss);
        assert_eq!(list(&bench, &whole).await.1, Outcome::Hit);
    }
}

#[tokio::test(start_paused = true)]
async fn the_absence_of_a_written_profile_is_not_kept() {
    for target in [Target::New, one()] {
        let bench = Bench::new(settings());
        write(&bench, target, updated());
        bench.answers(Answer::Fails(Reason::ProfileNotFound), Duration::ZERO);
        for _ in 0..2 {
            assert_eq!(bench.get().await.0, Err(Reason::ProfileNotFound));
        }
        assert_eq!(bench.asked(), 2);
        sleep(SETTLE_TIME).await;
        for _ in 0..2 {
            assert_eq!(bench.get().await.0, Err(Reason::ProfileNotFound));
        }
        assert_eq!(bench.asked(), 3, "the upstream is believed");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_write_that_changes_others_only_that_they_are_there_is_known_of_them() {
    let bench = Bench::new(settings());
    write(&bench, one(), updated());
    let mut every = bench.cache.write(Target::Every);
    every.acknowledged("SP_2", updated(), SETTLE_TIME);
    every.end(false);
    for _ in 0..2 {
        assert_eq!(list(&bench, &[("SP_2", 2)]).await.1, Outcome::Miss);
    }
    assert_eq!(bench.get().await, ok(1, Outcome::Miss, 0));
    assert_eq!(bench.get().await, ok(1, Outcome::Hit, 0));
    let both = [("SP_1", 1), ("SP_2", 2)];
    assert_eq!(list(&bench, &both).await.1, Outcome::Miss);
    assert_eq!(list(&bench, &both).await.1, Outcome::Hit);
    assert_eq!(bench.cache.present().len(), 2);
    sleep(SETTLE_TIME).await;
    assert_eq!(bench.cache.present().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_profile_survives_that_it_appeared() {
    let bench = Bench::new(settings());
    bench.cache.appeared("SP_1", SETTLE_TIME);
    for _ in 0..2 {
        assert_eq!(list(&bench, &[("SP_2", 1)]).await.1, Outcome::Miss);
    }
    assert_eq!(bench.get().await, ok(1, Outcome::Miss, 0));
    assert_eq!(bench.get().await, ok(1, Outcome::Hit, 0));
    write(&bench, one(), updated());
    bench.cache.appeared("SP_1", SETTLE_TIME);
    for _ in 0..2 {
        assert_eq!(bench.get().await, ok(1, Outcome::Miss, 0));
    }
    write(&bench, one(), Acknowledged::Deleted);
    assert!(bench.cache.is_deleted("SP_1") && bench.cache.present().is_empty());
    bench.cache.appeared("SP_1", SETTLE_TIME);
    assert!(!bench.cache.is_deleted("SP_1") && bench.cache.present().contains("SP_1"));
}
