//! The gateway completes by itself what the process before it has made half, if no one can have
//! changed it since.

use prost::Message as _;

use super::{
    closing::{NO_EFFECT, close},
    restart::{Remembering, process, remembering, with_doubt},
    *,
};
use crate::{gateway::idempotency::KeptRequest, store::Table};

const SECOND: Duration = Duration::from_secs(1);
/// From then on, nothing of the process that died can be under way.
const OVER: Duration = Duration::from_secs(62);

/// What a process leaves that dies when it has made a profile half; what is missing takes so long.
async fn half_made(finish_takes: Duration) -> (Fake, Arc<Remembering>) {
    let (bench, store) = remembering();
    bench.fake.makes_halves(finish_takes);
    bench.fake.next(Ends::Hangs);
    let dying = with_doubt(&bench);
    tokio::spawn(async move { dying.create("", "a").await });
    sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.fake.names(), ["a"]);
    (bench.fake, store.next())
}

async fn rename(bench: &Bench, display_name: &str) {
    let profile = Some(Profile {
        name: "backends/fake/profiles/101".into(),
        display_name: display_name.into(),
        ..Profile::default()
    });
    let request = UpdateProfileRequest { profile, ..UpdateProfileRequest::default() };
    bench.gateway.update_profile(&within(MINUTE), request).await.unwrap();
}

/// It is left as it is, and listed.
async fn is_left(bench: &Bench) {
    sleep(5 * MINUTE).await;
    let looks = bench.only_doubt().await.looks;
    assert_eq!((bench.fake.finished(), looks.reason.as_str()), (0, "PARTIALLY_APPLIED"));
    assert_eq!(looks.candidates, ["backends/fake/profiles/101"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_half_made_is_named_and_completed_when_nothing_else_can_be_under_way() {
    let (fake, store) = half_made(Duration::ZERO).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(OVER / 2).await;
    let looks = bench.only_doubt().await.looks;
    assert_eq!((fake.finished(), looks.reason.as_str()), (0, "WRITE_OUTCOME_UNKNOWN"));
    assert_eq!(looks.candidates, ["backends/fake/profiles/101"]);
    sleep(OVER).await;
    assert_eq!((fake.finished(), bench.doubts().await.len()), (1, 0));
    assert!(store.entries.lock().keys().all(|(table, _)| *table != Table::Requests));
}

#[tokio::test(start_paused = true)]
async fn what_a_call_has_changed_since_is_not_completed() {
    let (fake, store) = half_made(Duration::ZERO).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(5 * SECOND).await;
    for name in ["b", "a"] {
        rename(&bench, name).await;
    }
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_long_before_the_start_is_not_completed() {
    let (fake, store) = half_made(Duration::ZERO).await;
    for ((table, _), value) in &mut *store.entries.lock() {
        if *table == Table::Requests {
            let mut request = KeptRequest::decode(value.clone()).unwrap();
            request.sent_at -= 3_600_000;
            *value = request.encode_to_vec().into();
        }
    }
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_process_before_may_have_changed_is_not_completed() {
    let (fake, store) = half_made(Duration::ZERO).await;
    rename(&process(&fake, &store), "a").await;
    let bench = process(&fake, &store.next());
    let _tasks = bench.settles();
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn no_one_closes_what_is_being_completed() {
    let (fake, store) = half_made(20 * SECOND).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(OVER).await;
    let refused = close(&bench, &bench.only_doubt().await, NO_EFFECT).await.unwrap_err();
    assert_eq!((refused.reason(), fake.finished()), (Reason::WriteInProgress, 0));
    sleep(OVER).await;
    assert_eq!((fake.finished(), bench.doubts().await.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_change_waits_for_the_end_of_what_is_being_completed() {
    let (fake, store) = half_made(20 * SECOND).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(OVER).await;
    assert!(bench.only_doubt().await.is_attended);
    rename(&bench, "b").await;
    assert_eq!((fake.finished(), fake.names()), (1, vec!["b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_is_being_completed() {
    let (fake, store) = half_made(20 * SECOND).await;
    let (room, writes) = ((Processors::default(), any_number()), Writes::default());
    let bench = draining(fake.clone(), room, store, writes.clone());
    let _tasks = bench.settles();
    sleep(OVER).await;
    writes.drain();
    writes.over().await;
    assert_eq!((fake.finished(), bench.doubts().await.len()), (1, 0));
}
