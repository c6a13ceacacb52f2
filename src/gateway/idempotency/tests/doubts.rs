//! Writes in doubt as those see them who look after them, over each store.

use std::{collections::BTreeSet, mem};

use tempfile::TempDir;

use super::*;
use crate::store::{File, StoreMetrics, Table};

over_each_store! {
    anywhere {
        a_write_without_an_id_is_kept_until_its_outcome_is_known,
        a_repeat_and_the_gateway_itself_exclude_each_other,
        what_the_gateway_finds_out_is_what_a_repeat_gets,
        doubts_are_listed_by_number_in_pages,
        an_operator_ends_a_doubt,
        no_one_ends_a_doubt_that_the_gateway_itself_is_writing_for,
        a_doubt_that_was_sent_again_since_it_was_seen_is_not_closed,
    }
    on_a_paused_clock {
        a_look_makes_no_outcome_younger,
        a_doubt_that_was_closed_is_forgotten_when_its_time_is_over,
        a_doubt_whose_time_is_over_is_dropped_and_reported_once,
    }
}

fn unnamed() -> RequestIdentity {
    RequestIdentity::unnamed(ME, "UpdateProfile")
}

async fn begun(store: &Tested, identity: &RequestIdentity) -> Attempt {
    match store.begin(identity, by()).await.unwrap() {
        Begin::Fresh(number) => store.attempt(identity.key, number),
        other => panic!("{other:?}"),
    }
}

async fn doubts(store: &Tested) -> Vec<Doubt> {
    store.doubts(0, usize::MAX).await.unwrap()
}

async fn only(store: &Tested) -> Doubt {
    let [doubt] = <[Doubt; 1]>::try_from(doubts(store).await).unwrap();
    doubt
}

fn settler() -> Settler {
    Settler { until: Instant::now() + MINUTE, gives_way: CancellationToken::new() }
}

async fn settling(store: &Tested) -> (Attempt, Settler) {
    let settler = settler();
    let number = only(store).await.number;
    let (doubt, attempt) = store.settle(number, settler.clone()).await.unwrap().begun().unwrap();
    (store.attempt(doubt.key, attempt), settler)
}

fn why() -> Unsettled {
    let reason = Reason::UpstreamUnavailable;
    Unsettled { reason, message: "down".to_owned(), candidates: Vec::new() }
}

async fn a_write_without_an_id_is_kept_until_its_outcome_is_known(on: On) {
    let store = sized(on, 2, 1 << 20).await;
    let failed = End::Failed(Error::new(Reason::Overloaded, "x"));
    for end in [End::Done(Bytes::from_static(b"x")), End::Nothing(Bytes::new()), failed] {
        let attempt = begun(&store, &unnamed()).await;
        intends(&store, &attempt, b"intent").await.unwrap();
        assert_eq!(store.size(), (1, 512 + 6));
        attempt.finish(end).await;
        assert_eq!(store.size(), (0, 0));
    }
    let identity = unnamed();
    let attempt = begun(&store, &identity).await;
    intends(&store, &attempt, b"intent").await.unwrap();
    assert_eq!(doubts(&store).await.len(), 0, "its call finds that out");
    attempt.finish(End::Unknown).await;
    let doubt = only(&store).await;
    assert!(!doubt.has_request_id() && !doubt.interrupted && !doubt.is_attended);
    assert_eq!((doubt.method.as_str(), doubt.intent), ("UpdateProfile", "intent".into()));
    // A caller that knows the id gets another entry.
    let named = RequestKey { is_named: true, ..identity.key };
    drop(begun(&store, &RequestIdentity { key: named, ..identity }).await);
    // It takes of the same room.
    let _other = begun(&store, &unnamed()).await;
    let refused = store.begin(&unnamed(), by()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::CallerQuotaExceeded);
}

async fn a_repeat_and_the_gateway_itself_exclude_each_other(on: On) {
    let store = roomy(on).await;
    unknown(&store, 1, b"x").await;
    let (attempt, settler) = settling(&store).await;
    assert!(only(&store).await.is_attended);
    assert!(
        store.settle(only(&store).await.number, settler.clone()).await.unwrap().begun().is_none()
    );
    assert!(!settler.gives_way.is_cancelled());
    let Begin::Running(ending) = store.begin(&identity(1), by()).await.unwrap() else { panic!() };
    assert!(settler.gives_way.is_cancelled(), "a repeat has come");
    let before = only(&store).await;
    drop(attempt);
    assert!(ending.await.is_none(), "the repeat asks again");
    let after = Doubt { is_attended: true, ended: before.ended, ..only(&store).await };
    assert_eq!(format!("{before:?}"), format!("{after:?}"), "all is as before");

    let Begin::Unknown { attempt, .. } = store.begin(&identity(1), by()).await.unwrap() else {
        panic!()
    };
    let doubt = only(&store).await;
    assert!(
        store.settle(doubt.number, settler).await.unwrap().begun().is_none(),
        "a call is at it"
    );
    assert!(matches!(store.close(&doubt, Closing::NoEffect).await.unwrap(), Closed::Attended));
    store.abandon(key(1), attempt);
}

async fn what_the_gateway_finds_out_is_what_a_repeat_gets(on: On) {
    let store = roomy(on).await;
    unknown(&store, 1, b"x").await;
    let (attempt, _) = settling(&store).await;
    let Begin::Running(ending) = store.begin(&identity(1), by()).await.unwrap() else { panic!() };
    attempt.finish(End::Done(Bytes::from_static(b"found"))).await;
    assert!(matches!(ending.await, Some(End::Done(result)) if result == b"found"[..]));
    assert_eq!(state(&store, 1).await, "done found");
    assert_eq!(doubts(&store).await.len(), 0);

    unknown(&store, 2, b"x").await;
    let (attempt, _) = settling(&store).await;
    let Begin::Running(ending) = store.begin(&identity(2), by()).await.unwrap() else { panic!() };
    attempt.finish(End::NoEffect).await;
    assert!(ending.await.is_none());
    assert_eq!(state(&store, 2).await, "fresh");
    assert_eq!((doubts(&store).await.len(), store.size().0), (0, 1));
}

async fn doubts_are_listed_by_number_in_pages(on: On) {
    let store = roomy(on).await;
    for id in 1..=5 {
        unknown(&store, id, b"x").await;
    }
    done(&store, 6, b"x").await;
    let all = doubts(&store).await;
    let ids: Vec<u128> = all.iter().map(|doubt| doubt.key.id.as_u128()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    let (mut after, mut pages) = (0, Vec::new());
    loop {
        let page = store.doubts(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.number;
        pages.push(page.len());
    }
    assert_eq!(pages, [2, 2, 1]);
    assert_eq!(store.doubts(u64::MAX, 9).await.unwrap().len(), 0);
}

async fn an_operator_ends_a_doubt(on: On) {
    let store = roomy(on).await;
    let result = Bytes::from_static(b"result");
    let closings = [
        (Closing::NoEffect, "fresh"),
        (Closing::TookEffect(None), "closed"),
        (Closing::TookEffect(Some(result)), "done result"),
    ];
    for (id, (closing, then)) in (1..).zip(closings) {
        unknown(&store, id, b"x").await;
        // The gateway itself gives way.
        let (attempt, settler) = settling(&store).await;
        let seen = only(&store).await;
        let closed = store.close(&seen, closing.clone()).await.unwrap();
        assert!(matches!(closed, Closed::Closed(doubt) if doubt.number == seen.number));
        assert!(settler.gives_way.is_cancelled());
        assert_eq!(attempt.goes_on().await.unwrap_err().reason(), Reason::CallerCancelled);
        let late = attempt.finish(End::Done(Bytes::from_static(b"late"))).await;
        assert!(!late, "it was closed before");
        assert_eq!(state(&store, id).await, then);
        let again = store.close(&seen, closing).await.unwrap();
        assert!(matches!(again, Closed::Missing));
    }
    let attempt = begun(&store, &unnamed()).await;
    intends(&store, &attempt, b"").await.unwrap();
    attempt.finish(End::Unknown).await;
    let before = store.size().0;
    store.close(&only(&store).await, Closing::TookEffect(None)).await.unwrap();
    assert_eq!(store.size().0, before - 1, "nothing repeats it");
    assert_eq!(state(&store, 2).await, "closed");
}

async fn a_look_makes_no_outcome_younger(on: On) {
    let store = roomy(on).await;
    unknown(&store, 1, b"x").await;
    advance(SECOND).await;
    settling(&store).await.0.leave(why()).await;
    advance(SECOND).await;
    drop(settling(&store).await);
    assert_eq!((only(&store).await.ended, only(&store).await.looks.count), (2 * SECOND, 1));
}

async fn a_doubt_that_was_closed_is_forgotten_when_its_time_is_over(on: On) {
    let store = roomy(on).await;
    unknown(&store, 2, b"x").await;
    store.close(&only(&store).await, Closing::TookEffect(None)).await.unwrap();
    assert_eq!(state(&store, 2).await, "closed");
    advance(KEPT).await;
    assert_eq!(state(&store, 2).await, "fresh");
    assert_eq!(store.dropped().await.unwrap().len(), 0, "it was not in doubt");
}

async fn a_doubt_whose_time_is_over_is_dropped_and_reported_once(on: On) {
    let store = roomy(on).await;
    unknown(&store, 1, b"x").await;
    done(&store, 2, b"x").await;
    advance(KEPT - SECOND).await;
    assert_eq!(store.dropped().await.unwrap().len(), 0);
    advance(SECOND).await;
    let dropped = store.dropped().await.unwrap();
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].key, key(1));
    assert_eq!((store.dropped().await.unwrap().len(), store.size().0), (0, 0));
}

/// Processes one after another on a store in a directory, each of which dies.
struct Processes(TempDir);

impl Processes {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    async fn next<T>(&self, lives: impl AsyncFnOnce(&Tested) -> T) -> T {
        let kept = Arc::new(File::open(self.0.path(), StoreMetrics::default()).unwrap());
        let result = lives(&Tested::of(ledger(ROOMY, kept.clone()))).await;
        kept.close();
        result
    }
}

#[tokio::test]
async fn the_next_process_knows_which_callers_were_told_and_why_it_is_not_settled() {
    let processes = Processes::new();
    let interrupted = async |store: &Tested| only(store).await.interrupted;
    processes
        .next(async |store| {
            let attempt = begun(store, &unnamed()).await;
            intends(store, &attempt, b"intent").await.unwrap();
            mem::forget(attempt);
        })
        .await;
    let first = processes.next(async |store| only(store).await).await;
    assert!(first.interrupted && !first.has_request_id());
    processes
        .next(async |store| {
            drop(settling(store).await);
            assert!(interrupted(store).await, "it gave way");
            settling(store).await.0.leave(why()).await;
        })
        .await;
    let second = processes.next(async |store| only(store).await).await;
    assert!(second.interrupted);
    assert_eq!((second.number, second.intent), (first.number, first.intent));
    assert_eq!((second.sent, second.sent_at), (1, first.sent_at));
    assert_eq!((second.looks.count, second.looks.message.as_str()), (1, "down"));
    assert_eq!(second.looks.reason, "UPSTREAM_UNAVAILABLE");
    assert!(second.looks.last_at >= first.sent_at);

    let processes = Processes::new();
    processes.next(async |store| mem::forget(sent(store, 1).await)).await;
    assert!(processes.next(interrupted).await);
    processes
        .next(async |store| {
            let begin = store.begin(&identity(1), by()).await.unwrap();
            let Begin::Unknown { attempt, .. } = begin else { panic!("{begin:?}") };
            store.finish(key(1), attempt, End::Unknown).await.unwrap();
        })
        .await;
    assert!(!processes.next(interrupted).await, "the caller of a repeat was told");
    processes.next(async |store| unknown(store, 2, b"x").await).await;
    let told = processes.next(async |store| doubts(store).await).await;
    assert!(told.iter().all(|doubt| !doubt.interrupted), "and that of the first call");
}

async fn is_closed(store: &Tested, seen: &Doubt, closing: Closing) -> bool {
    matches!(store.close(seen, closing).await.unwrap(), Closed::Closed(_))
}

#[tokio::test]
async fn what_is_settled_or_closed_is_so_for_the_next_process() {
    let processes = Processes::new();
    let mut numbers = BTreeSet::new();
    for id in 1..=4 {
        let process = processes.next(async |store| {
            unknown(store, id, b"x").await;
            let seen = only(store).await;
            let ended = match id {
                1 => settling(store).await.0.finish(End::Done(Bytes::from_static(b"y"))).await,
                2 => settling(store).await.0.finish(End::NoEffect).await,
                3 => is_closed(store, &seen, Closing::TookEffect(None)).await,
                _ => is_closed(store, &seen, Closing::NoEffect).await,
            };
            assert!(ended, "{id}");
            seen.number
        });
        assert!(numbers.insert(process.await), "each has a number of its own");
    }
    processes
        .next(async |store| {
            assert_eq!(doubts(store).await.len(), 0);
            let mut states = Vec::new();
            for id in 1..=4 {
                states.push(state(store, id).await);
            }
            assert_eq!(states, ["done y", "fresh", "closed", "fresh"]);
        })
        .await;
    let kept = File::open(processes.0.path(), StoreMetrics::default()).unwrap();
    assert_eq!(kept.load(Table::Requests).len(), 2);
}

#[tokio::test]
async fn what_was_sent_ended_with_its_process_whatever_the_clock_says_since() {
    const SECONDS: u64 = 1_000;
    for (age, may_complete) in [(60 * SECONDS, true), (3_600 * SECONDS, false)] {
        let processes = Processes::new();
        processes.next(async |store| mem::forget(sent(store, 1).await)).await;
        let kept = File::open(processes.0.path(), StoreMetrics::default()).unwrap();
        for entry in kept.load(Table::Requests) {
            let (number, _, mut request) = record::read(&entry).unwrap();
            for time in [&mut request.sent_at, &mut request.until] {
                *time -= age;
            }
            kept.put(vec![record::keep(number, &request)]).wait().await.unwrap();
        }
        kept.close();
        drop(kept);
        processes
            .next(async |store| {
                let doubt = only(store).await;
                assert!(doubt.interrupted);
                assert_eq!(doubt.may_complete, may_complete, "{age}");
                assert!(doubt.ended < MINUTE, "it may still take effect: {:?}", doubt.ended);
            })
            .await;
        let third = processes.next(async |store| only(store).await).await;
        assert!(third.interrupted && !third.may_complete, "the second may have changed it");
    }
}

async fn no_one_ends_a_doubt_that_the_gateway_itself_is_writing_for(on: On) {
    let store = roomy(on).await;
    unknown(&store, 1, b"x").await;
    let (attempt, settler) = settling(&store).await;
    attempt.goes_on().await.unwrap();
    let seen = only(&store).await;
    assert!(matches!(store.close(&seen, Closing::NoEffect).await.unwrap(), Closed::Attended));
    assert!(!settler.gives_way.is_cancelled());
    assert!(attempt.finish(End::Done(Bytes::from_static(b"whole"))).await);
    assert_eq!(state(&store, 1).await, "done whole");
}

async fn a_doubt_that_was_sent_again_since_it_was_seen_is_not_closed(on: On) {
    let store = roomy(on).await;
    unknown(&store, 1, b"x").await;
    let seen = only(&store).await;
    let begin = store.begin(&identity(1), by()).await.unwrap();
    let Begin::Unknown { attempt, .. } = begin else { panic!("{begin:?}") };
    store.intend(key(1), attempt, Bytes::from_static(b"x")).await.unwrap();
    store.finish(key(1), attempt, End::Unknown).await.unwrap();
    assert!(!is_closed(&store, &seen, Closing::NoEffect).await, "it may take effect");
    assert!(is_closed(&store, &only(&store).await, Closing::NoEffect).await);
}
