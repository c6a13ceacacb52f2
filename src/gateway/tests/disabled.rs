//! Writes that an operator has disabled.

use super::{
    completing::{half_made, half_made_under},
    restart::{Remembering, next, remembering, with_doubt},
    *,
};
use crate::{
    error::metadata::{PROFILE_ID, UNTIL},
    levers::{Asked, Lever, LeverMetrics, Levers, Operator},
};

const SECOND: Duration = Duration::from_secs(1);

fn levers() -> Levers {
    Levers::new(AuditLog::in_memory(usize::MAX), LeverMetrics::default())
}

fn operator() -> Operator {
    Operator { name: "jane".into(), peer: None }
}

fn freeze(levers: &Levers, time: Duration) {
    let asked = Asked { time, note: String::new(), filter: None };
    levers.set(Lever::WritesFrozen, None, &operator(), asked).unwrap();
}

fn thaw(levers: &Levers) {
    levers.end(Lever::WritesFrozen, None, &operator()).unwrap();
}

/// A gateway over this upstream, with its levers.
fn over(fake: &Fake, store: &Arc<Remembering>) -> (Bench, Levers) {
    let levers = levers();
    let parts = Parts { levers: levers.clone(), ..Parts::default() };
    (parts.over(fake.clone(), Arc::clone(store) as Arc<dyn Store>), levers)
}

#[track_caller]
fn disabled<T>(result: Result<T>) {
    let error = result.err().expect("writes are disabled");
    assert_eq!(error.reason(), Reason::WritesDisabled, "{error:?}");
    assert!(error.metadatum(UNTIL).is_some(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_leaves_nothing_behind() {
    let (fake, store) = (Fake::default(), Arc::new(Remembering::default()));
    let (bench, levers) = over(&fake, &store);
    fake.put(1, Some("old"));
    freeze(&levers, MINUTE);
    for id in [ONE, ""] {
        disabled(bench.create(id, "a").await);
        disabled(bench.update(id, "b").await);
        disabled(bench.delete(id).await);
    }
    assert_eq!((fake.writes(), fake.reads(), fake.lists()), (0, 0, 0), "nothing was asked");
    assert!(store.entries.lock().is_empty());
    advance(MINUTE).await;
    // The id is free for any request.
    bench.update(ONE, "c").await.unwrap();
    assert_eq!(fake.names(), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_what_is_done_gets_its_answer() {
    let (fake, store) = (Fake::default(), Arc::new(Remembering::default()));
    let (bench, levers) = over(&fake, &store);
    let first = bench.create(ONE, "a").await.unwrap();
    freeze(&levers, MINUTE);
    assert_eq!(bench.create(ONE, "a").await.unwrap(), first);
    disabled(bench.create(TWO, "a").await);
    assert_eq!(fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_refused_and_what_is_sent_goes_on() {
    let (fake, store) = (Fake::default(), Arc::new(Remembering::default()));
    let (bench, levers) = over(&fake, &store);
    fake.put(1, Some("old"));
    fake.next(Ends::After(5 * SECOND));
    let (running, waiting) = (with_doubt(&bench), with_doubt(&bench));
    let running = tokio::spawn(async move { running.update(ONE, "first").await });
    sleep(SECOND).await;
    let waiting = tokio::spawn(async move { waiting.update(TWO, "second").await });
    sleep(SECOND).await;
    freeze(&levers, MINUTE);
    assert_eq!(running.await.unwrap().unwrap().display_name, "first");
    disabled(waiting.await.unwrap());
    assert_eq!((fake.writes(), fake.names()), (1, vec!["first".to_owned()]));
    thaw(&levers);
    bench.update(TWO, "second").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_repeat_finds_out_what_an_earlier_call_did_and_sends_nothing() {
    for took_effect in [true, false] {
        let (dying, store) = remembering();
        dying.fake.put(1, Some("old"));
        dying.fake.next(Ends::Lost { done: false });
        unknown(dying.update(ONE, "new").await);
        let (next, store) = next(&dying, &store);
        let (bench, levers) = over(&next.fake, &store);
        freeze(&levers, 10 * MINUTE);
        if took_effect {
            bench.fake.put(1, Some("new"));
            assert_eq!(bench.update(ONE, "new").await.unwrap().display_name, "new");
        } else {
            advance(2 * MINUTE).await;
            disabled(bench.update(ONE, "new").await);
            assert_eq!(bench.fake.names(), ["old"]);
        }
        assert_eq!(bench.fake.writes(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_gateway_completes_nothing_by_itself_until_they_are_enabled() {
    let (fake, store) = half_made(Duration::ZERO).await;
    let (bench, levers) = over(&fake, &store);
    freeze(&levers, 4 * MINUTE);
    let _tasks = bench.settles();
    sleep(3 * MINUTE).await;
    let looks = bench.only_doubt().await.looks;
    assert_eq!((fake.finished(), looks.reason.as_str()), (0, "WRITES_DISABLED"));
    sleep(3 * MINUTE).await;
    let left = bench.doubts().await;
    assert_eq!((fake.finished(), left.len()), (1, 0), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_completes_nothing_until_they_are_enabled() {
    let (dying, store) = half_made_under(ONE, Duration::ZERO).await;
    let (bench, levers) = over(&dying.fake, &store.next());
    freeze(&levers, 10 * MINUTE);
    let error = bench.create(ONE, "a").await.unwrap_err();
    assert_eq!(error.reason(), Reason::PartiallyApplied, "{error}");
    assert_eq!(error.metadatum(PROFILE_ID), Some("101"));
    assert!(error.message().contains("frozen all writes"), "{error}");
    assert_eq!(bench.fake.finished(), 0);
    thaw(&levers);
    bench.create(ONE, "a").await.unwrap();
    assert_eq!(bench.fake.finished(), 1);
}
