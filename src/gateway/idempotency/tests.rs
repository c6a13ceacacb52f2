//! The in-memory store, on a paused clock.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::advance;
use uuid::Uuid;

use super::*;
use crate::{
    error::{Effect, Reason, Retry},
    pb::{DeleteProfileRequest, Profile, UpdateProfileRequest},
};

const SECOND: Duration = Duration::from_secs(1);

/// The time that ids are kept in these tests.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const ME: CallerId = CallerId::Network { address: IpAddr::V4(Ipv4Addr::LOCALHOST), bits: 32 };

/// A store of which one caller may have everything.
fn memory(entries: usize, bytes: usize) -> Arc<Memory> {
    sharing(entries, bytes, 100)
}

fn sharing(entries: usize, bytes: usize, share_percent: u32) -> Arc<Memory> {
    let limits = Limits { kept_for: KEPT, entries, bytes, share_percent };
    Arc::new(Memory::new(limits, RequestIdMetrics::default()))
}

fn key(id: u128) -> RequestKey {
    RequestKey { caller: ME, id: Uuid::from_u128(id) }
}

fn roomy() -> Arc<Memory> {
    memory(100, 1 << 20)
}

fn identity(id: u128) -> RequestIdentity {
    RequestIdentity { key: key(id), fingerprint: [7; 32] }
}

async fn fresh(store: &Arc<Memory>, id: u128) -> Attempt {
    match store.begin(&identity(id)).await.unwrap() {
        Begin::Fresh(number) => Attempt::new(store.clone(), key(id), number),
        other => panic!("{other:?}"),
    }
}

/// An attempt that has sent something.
async fn sent(store: &Arc<Memory>, id: u128) -> Attempt {
    let attempt = fresh(store, id).await;
    attempt.intend(Bytes::new()).await.unwrap();
    attempt
}

async fn done(store: &Arc<Memory>, id: u128, result: &'static [u8]) {
    sent(store, id).await.finish(End::Done(Bytes::from_static(result))).await;
}

async fn refusal(store: &Arc<Memory>, id: u128) -> Reason {
    let refused = store.begin(&identity(id)).await.unwrap_err();
    assert_eq!(refused.effect(), Effect::None);
    refused.reason()
}

async fn unknown(store: &Arc<Memory>, id: u128, intent: &'static [u8]) {
    let attempt = fresh(store, id).await;
    attempt.intend(Bytes::from_static(intent)).await.unwrap();
    attempt.finish(End::Unknown).await;
}

async fn state(store: &Arc<Memory>, id: u128) -> String {
    // A fresh or unknown attempt that is not used is given back at once.
    match store.begin(&identity(id)).await.unwrap() {
        Begin::Fresh(number) => {
            store.abandon(key(id), number);
            "fresh".to_owned()
        }
        Begin::Unknown { attempt, intent, ended } => {
            store.abandon(key(id), attempt);
            format!("unknown {} {}", String::from_utf8_lossy(&intent), ended.as_secs())
        }
        Begin::Done(result) => format!("done {}", String::from_utf8_lossy(&result)),
        Begin::Running(_) => "running".to_owned(),
        Begin::Reused => "reused".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_is_remembered_for_24_hours_and_no_longer() {
    let store = roomy();
    done(&store, 1, b"one").await;
    unknown(&store, 2, b"two").await;
    advance(KEPT - SECOND).await;
    assert_eq!(state(&store, 1).await, "done one");
    assert!(state(&store, 2).await.starts_with("unknown two"));
    advance(SECOND).await;
    assert_eq!(state(&store, 1).await, "fresh");
    assert_eq!(state(&store, 2).await, "fresh");
}

#[tokio::test(start_paused = true)]
async fn a_running_write_does_not_expire() {
    let store = roomy();
    let attempt = sent(&store, 1).await;
    advance(2 * KEPT).await;
    assert_eq!(state(&store, 1).await, "running");
    attempt.finish(End::Done(Bytes::from_static(b"late"))).await;
    assert_eq!(state(&store, 1).await, "done late");
}

#[tokio::test(start_paused = true)]
async fn another_request_is_refused_in_every_state() {
    let store = roomy();
    let other = RequestIdentity { fingerprint: [8; 32], ..identity(1) };
    let reused = async || matches!(store.begin(&other).await.unwrap(), Begin::Reused);
    let attempt = fresh(&store, 1).await;
    assert!(reused().await, "running");
    drop(attempt);
    unknown(&store, 1, b"x").await;
    assert!(reused().await, "unknown");
    let Begin::Unknown { attempt, .. } = store.begin(&identity(1)).await.unwrap() else { panic!() };
    store.finish(other.key, attempt, End::Done(Bytes::new())).await.unwrap();
    assert!(reused().await, "done");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_learns_how_the_write_ended() {
    let store = roomy();
    let waiting = async || match store.begin(&identity(1)).await.unwrap() {
        Begin::Running(ending) => ending,
        other => panic!("{other:?}"),
    };
    let attempt = fresh(&store, 1).await;
    let (early, late) = (waiting().await, waiting().await);
    attempt.finish(End::Failed(Error::new(Reason::UpstreamThrottled, "x"))).await;
    for ending in [early, late] {
        let Some(End::Failed(error)) = ending.await else { panic!() };
        assert_eq!(error.reason(), Reason::UpstreamThrottled);
    }
    // A later repeat writes again.
    let attempt = sent(&store, 1).await;
    let ending = waiting().await;
    attempt.finish(End::Done(Bytes::from_static(b"x"))).await;
    assert!(matches!(ending.await, Some(End::Done(result)) if result == b"x"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_asks_again_after_an_unknown_outcome() {
    let store = roomy();
    let attempt = fresh(&store, 1).await;
    attempt.intend(Bytes::from_static(b"x")).await.unwrap();
    let Begin::Running(ending) = store.begin(&identity(1)).await.unwrap() else { panic!() };
    drop(attempt);
    assert!(ending.await.is_none());
    assert_eq!(state(&store, 1).await, "unknown x 0");
}

#[tokio::test(start_paused = true)]
async fn a_panic_leaves_a_journaled_write_with_an_unknown_outcome() {
    let store = roomy();
    for (id, sent) in [(1, true), (2, false)] {
        let attempt = fresh(&store, id).await;
        let write = tokio::spawn(async move {
            if sent {
                attempt.intend(Bytes::from_static(b"x")).await.unwrap();
            }
            panic!("on purpose");
        });
        assert!(write.await.unwrap_err().is_panic());
    }
    assert_eq!(state(&store, 1).await, "unknown x 0");
    assert_eq!(state(&store, 2).await, "fresh", "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_ages_from_the_last_attempt_that_wrote() {
    let store = roomy();
    unknown(&store, 1, b"first").await;
    advance(30 * SECOND).await;
    // An attempt that only reads.
    assert_eq!(state(&store, 1).await, "unknown first 30");
    advance(30 * SECOND).await;
    let Begin::Unknown { attempt, .. } = store.begin(&identity(1)).await.unwrap() else { panic!() };
    store.intend(key(1), attempt, Bytes::from_static(b"second")).await.unwrap();
    store.abandon(key(1), attempt);
    advance(5 * SECOND).await;
    assert_eq!(state(&store, 1).await, "unknown second 5");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_forgotten_before_its_time_and_the_newcomer_is_refused() {
    let store = memory(3, 1 << 20);
    for id in 1..=3 {
        done(&store, id, b"x").await;
        advance(SECOND).await;
    }
    let refused = store.begin(&identity(4)).await.unwrap_err();
    assert_eq!((refused.reason(), refused.effect()), (Reason::CallerQuotaExceeded, Effect::None));
    for id in 1..=3 {
        assert_eq!(state(&store, id).await, "done x");
    }
    // When the oldest has been kept long enough, there is room.
    advance(KEPT - 3 * SECOND).await;
    let _running = fresh(&store, 4).await;
    assert_eq!(refusal(&store, 5).await, Reason::CallerQuotaExceeded);
    assert_eq!(state(&store, 2).await, "done x");
}

#[tokio::test(start_paused = true)]
async fn what_wrote_nothing_takes_no_room() {
    let store = memory(1, 1 << 20);
    let failed = || End::Failed(Error::new(Reason::ProfileNotFound, "x"));
    for id in 1..=50 {
        fresh(&store, id).await.finish(failed()).await;
        // Refused by the upstream, after it was journaled.
        sent(&store, id).await.finish(failed()).await;
        fresh(&store, id).await.finish(End::Done(Bytes::new())).await;
        fresh(&store, id).await.finish(End::Unknown).await;
        drop(fresh(&store, id).await);
        assert_eq!(store.size(), (0, 0));
    }
    done(&store, 51, b"x").await;
    assert_eq!(refusal(&store, 52).await, Reason::CallerQuotaExceeded);
}

#[tokio::test(start_paused = true)]
async fn callers_share_no_ids_and_each_has_its_share_of_the_room() {
    let store = sharing(10, 1 << 20, 50);
    let other = CallerId::network(Ipv4Addr::new(192, 0, 2, 1).into(), 32, 64);
    let of_other =
        |id: u128| RequestIdentity { key: RequestKey { caller: other, ..key(id) }, ..identity(id) };
    for id in 1..=5 {
        done(&store, id, b"mine").await;
    }
    assert_eq!(refusal(&store, 6).await, Reason::CallerQuotaExceeded);
    for id in 1..=5 {
        let identity = of_other(id);
        let Begin::Fresh(number) = store.begin(&identity).await.unwrap() else { panic!() };
        store.intend(identity.key, number, Bytes::new()).await.unwrap();
        let result = End::Done(Bytes::from_static(b"theirs"));
        store.finish(identity.key, number, result).await.unwrap();
        assert_eq!(state(&store, id).await, "done mine");
    }
    // Two that have their share have everything.
    let third = CallerId::network(Ipv4Addr::new(192, 0, 2, 2).into(), 32, 64);
    let third = RequestIdentity { key: RequestKey { caller: third, ..key(1) }, ..identity(1) };
    let refused = store.begin(&third).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Overloaded);
    assert_eq!(refused.retry(), Retry::After(Some(KEPT)), "when the oldest is over");
    advance(KEPT).await;
    assert!(matches!(store.begin(&third).await, Ok(Begin::Fresh(_))));
    assert_eq!(store.size().0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_at_its_share_is_told_when_its_own_oldest_id_is_forgotten() {
    let store = sharing(10, 1 << 20, 20);
    let other = CallerId::network(Ipv4Addr::new(192, 0, 2, 1).into(), 32, 64);
    let theirs = RequestIdentity { key: RequestKey { caller: other, ..key(1) }, ..identity(1) };
    let Begin::Fresh(number) = store.begin(&theirs).await.unwrap() else { panic!() };
    store.intend(theirs.key, number, Bytes::new()).await.unwrap();
    store.finish(theirs.key, number, End::Done(Bytes::new())).await.unwrap();
    let wait = async || store.begin(&identity(9)).await.unwrap_err().retry();
    let running = [sent(&store, 1).await, sent(&store, 2).await];
    assert_eq!(wait().await, Retry::After(Some(SECOND)), "when a write ends is not known");
    for attempt in running {
        advance(SECOND).await;
        attempt.finish(End::Done(Bytes::new())).await;
    }
    advance(SECOND).await;
    assert_eq!(wait().await, Retry::After(Some(KEPT - 2 * SECOND)));
    advance(KEPT - 2 * SECOND).await;
    drop(sent(&store, 9).await);
}

#[tokio::test(start_paused = true)]
async fn running_and_unknown_writes_are_never_dropped_for_room() {
    let store = memory(2, 1 << 20);
    unknown(&store, 1, b"x").await;
    let running = fresh(&store, 2).await;
    assert_eq!(refusal(&store, 3).await, Reason::CallerQuotaExceeded);
    assert!(state(&store, 1).await.starts_with("unknown"));
    assert_eq!(state(&store, 2).await, "running");
    running.finish(End::Done(Bytes::new())).await;
    drop(fresh(&store, 3).await);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_before_anything_is_sent() {
    let store = memory(100, 2_100);
    let attempt = fresh(&store, 1).await;
    attempt.intend(Bytes::from_static(&[b'y'; 1_000])).await.unwrap();
    assert_eq!(store.size(), (1, 1_512));
    let other = fresh(&store, 2).await;
    assert_eq!(store.size(), (2, 2_024));
    let refused = other.intend(Bytes::from_static(&[b'z'; 100])).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::CallerQuotaExceeded);
    drop(other);
    assert_eq!(state(&store, 2).await, "fresh", "nothing was sent");
    attempt.finish(End::Done(Bytes::from_static(&[b'r'; 1_900]))).await;
    assert!(state(&store, 1).await.starts_with("done rrr"), "a result is always kept");
}

#[tokio::test(start_paused = true)]
async fn a_superseded_attempt_changes_nothing() {
    let store = roomy();
    let old = fresh(&store, 1).await;
    let id = key(1);
    old.finish(End::Failed(Error::new(Reason::Overloaded, "x"))).await;
    let new = fresh(&store, 1).await;
    store.finish(id, new.number - 1, End::Done(Bytes::from_static(b"old"))).await.unwrap();
    store.abandon(id, new.number - 1);
    assert!(store.intend(id, new.number - 1, Bytes::new()).await.is_err());
    assert_eq!(state(&store, 1).await, "running");
}

#[test]
fn a_request_is_identified_by_its_method_and_all_of_its_fields() {
    let id = "123e4567-e89b-12d3-a456-426614174000";
    let named = |name: &str| Profile { display_name: name.into(), ..Profile::default() };
    let update = |profile: Profile| UpdateProfileRequest {
        profile: Some(profile),
        ..UpdateProfileRequest::default()
    };
    let of = |request: &UpdateProfileRequest| RequestIdentity::of(ME, "A", id, request).unwrap();
    let first = of(&update(named("a")));
    assert_eq!(first, of(&update(named("a"))));
    assert_eq!(RequestIdentity::of(ME, "A", &id.to_uppercase(), &update(named("a"))), Some(first));
    let other = [
        of(&update(named("b"))),
        of(&UpdateProfileRequest { validate_only: true, ..update(named("a")) }),
        RequestIdentity::of(ME, "B", id, &update(named("a"))).unwrap(),
        RequestIdentity::of(ME, "A", id, &DeleteProfileRequest::default()).unwrap(),
    ];
    assert!(other.iter().all(|other| other.fingerprint != first.fingerprint));
    assert_eq!(RequestIdentity::of(ME, "A", "", &update(named("a"))), None);

    // Maps are equal in whatever order they were filled.
    let unmapped = |keys: &[&str]| {
        let value = prost_types::Value { kind: None };
        let fields = keys.iter().map(|key| ((*key).to_owned(), value.clone())).collect();
        update(Profile { unmapped: Some(prost_types::Struct { fields }), ..Profile::default() })
    };
    assert_eq!(of(&unmapped(&["a", "b", "c"])), of(&unmapped(&["c", "b", "a"])));
}
