//! What each store of request ids has to do: the suite runs over the ledger in memory and with a
//! file, on a paused clock, and over ids that replicas share, in real time.
//!
//! Over replicas, the rows `on_a_paused_clock` cannot run: a paused clock jumps to the next timeout
//! whenever all tasks wait for something, so every answer of the real server would come too late.
//! They are those in which ids are forgotten after a day, or outcomes age by a known time. There,
//! the model of the protocol has the time (`shared::protocol::tests`). What is kept for the next
//! process is also of the ledger alone (`next_process`).

mod doubts;
mod next_process;
mod over_replicas;
mod stores;

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use tokio::time::advance;
use uuid::Uuid;

use self::stores::{On, Tested, ledger, memory, over_each_store};
use super::*;
use crate::{
    caller::CallerId,
    error::{Effect, Reason, Retry},
    store::Store,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The time that ids are kept in these tests.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const ME: CallerId = CallerId::Network { address: IpAddr::V4(Ipv4Addr::LOCALHOST), bits: 32 };

/// One of which a caller may have everything.
async fn sized(on: On, entries: usize, bytes: usize) -> Tested {
    sharing(on, entries, bytes, 100).await
}

async fn sharing(on: On, entries: usize, bytes: usize, share_percent: u32) -> Tested {
    Tested::new(on, Limits { kept_for: KEPT, entries, bytes, share_percent }).await
}

const ROOMY: Limits = Limits { kept_for: KEPT, entries: 100, bytes: 1 << 20, share_percent: 100 };

over_each_store! {
    anywhere {
        another_request_is_refused_in_every_state,
        a_waiting_call_learns_how_the_write_ended,
        a_waiting_call_asks_again_after_an_unknown_outcome,
        a_panic_leaves_a_journaled_write_with_an_unknown_outcome,
        what_is_kept_is_not_dropped_for_room,
        what_wrote_nothing_takes_no_room,
        callers_share_no_ids_and_each_has_its_share_of_the_room,
        running_and_unknown_writes_are_never_dropped_for_room,
        bytes_are_bounded_before_anything_is_sent,
        a_superseded_attempt_changes_nothing,
    }
    on_a_paused_clock {
        an_id_is_remembered_for_24_hours_and_no_longer,
        a_running_write_does_not_expire,
        an_unknown_outcome_ages_from_the_last_attempt_that_wrote,
        there_is_room_when_the_oldest_has_been_kept_long_enough,
        there_is_room_for_all_when_the_oldest_of_others_is_over,
        a_caller_at_its_share_is_told_when_its_own_oldest_id_is_forgotten,
    }
}

fn by() -> Attempter {
    let until = Instant::now() + MINUTE;
    let resource = "backends/sft".to_owned();
    Attempter { call: CallId::default(), resource, deadline: until, until }
}

fn key(id: u128) -> RequestKey {
    RequestKey { caller: ME, id: Uuid::from_u128(id), is_named: true }
}

async fn roomy(on: On) -> Tested {
    Tested::new(on, ROOMY).await
}

fn identity(id: u128) -> RequestIdentity {
    RequestIdentity { key: key(id), fingerprint: [7; 32], method: "CreateProfile" }
}

async fn fresh(store: &Tested, id: u128) -> Attempt {
    match store.begin(&identity(id), by()).await.unwrap() {
        Begin::Fresh(number) => store.attempt(key(id), number),
        other => panic!("{other:?}"),
    }
}

/// An attempt that has sent something.
async fn sent(store: &Tested, id: u128) -> Attempt {
    let attempt = fresh(store, id).await;
    intends(store, &attempt, b"").await.unwrap();
    attempt
}

async fn intends(store: &Tested, attempt: &Attempt, intent: &'static [u8]) -> Result<()> {
    store.intend(attempt.key, attempt.number, Bytes::from_static(intent)).await
}

async fn done(store: &Tested, id: u128, result: &'static [u8]) {
    sent(store, id).await.finish(End::Done(Bytes::from_static(result))).await;
}

async fn refusal(store: &Tested, id: u128) -> Reason {
    let refused = store.begin(&identity(id), by()).await.unwrap_err();
    assert_eq!(refused.effect(), Effect::None);
    refused.reason()
}

async fn unknown(store: &Tested, id: u128, intent: &'static [u8]) {
    let attempt = fresh(store, id).await;
    intends(store, &attempt, intent).await.unwrap();
    attempt.finish(End::Unknown).await;
}

async fn state(store: &Tested, id: u128) -> String {
    // A fresh or unknown attempt that is not used is given back at once.
    match store.begin(&identity(id), by()).await.unwrap() {
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
        Begin::Closed => "closed".to_owned(),
    }
}

async fn an_id_is_remembered_for_24_hours_and_no_longer(on: On) {
    let store = roomy(on).await;
    done(&store, 1, b"one").await;
    unknown(&store, 2, b"two").await;
    advance(KEPT - SECOND).await;
    assert_eq!(state(&store, 1).await, "done one");
    assert!(state(&store, 2).await.starts_with("unknown two"));
    advance(SECOND).await;
    assert_eq!(state(&store, 1).await, "fresh");
    assert_eq!(state(&store, 2).await, "fresh");
}

async fn a_running_write_does_not_expire(on: On) {
    let store = roomy(on).await;
    let attempt = sent(&store, 1).await;
    advance(2 * KEPT).await;
    assert_eq!(state(&store, 1).await, "running");
    attempt.finish(End::Done(Bytes::from_static(b"late"))).await;
    assert_eq!(state(&store, 1).await, "done late");
}

async fn another_request_is_refused_in_every_state(on: On) {
    let store = roomy(on).await;
    let other = RequestIdentity { fingerprint: [8; 32], ..identity(1) };
    let reused = async || matches!(store.begin(&other, by()).await.unwrap(), Begin::Reused);
    let attempt = fresh(&store, 1).await;
    assert!(reused().await, "running");
    drop(attempt);
    unknown(&store, 1, b"x").await;
    assert!(reused().await, "unknown");
    let Begin::Unknown { attempt, .. } = store.begin(&identity(1), by()).await.unwrap() else {
        panic!()
    };
    store.finish(other.key, attempt, End::Done(Bytes::new())).await.unwrap();
    assert!(reused().await, "done");
}

async fn a_waiting_call_learns_how_the_write_ended(on: On) {
    let store = roomy(on).await;
    let waiting = async || match store.begin(&identity(1), by()).await.unwrap() {
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

async fn a_waiting_call_asks_again_after_an_unknown_outcome(on: On) {
    let store = roomy(on).await;
    let attempt = fresh(&store, 1).await;
    intends(&store, &attempt, b"x").await.unwrap();
    let Begin::Running(ending) = store.begin(&identity(1), by()).await.unwrap() else { panic!() };
    drop(attempt);
    assert!(ending.await.is_none());
    assert!(state(&store, 1).await.starts_with("unknown x "));
}

async fn a_panic_leaves_a_journaled_write_with_an_unknown_outcome(on: On) {
    let store = roomy(on).await;
    for (id, sent) in [(1, true), (2, false)] {
        let attempt = fresh(&store, id).await;
        if sent {
            intends(&store, &attempt, b"x").await.unwrap();
        }
        let write = tokio::spawn(async move {
            let _attempt = attempt;
            panic!("on purpose");
        });
        assert!(write.await.unwrap_err().is_panic());
    }
    assert!(state(&store, 1).await.starts_with("unknown x "));
    assert_eq!(state(&store, 2).await, "fresh", "nothing was sent");
}

async fn an_unknown_outcome_ages_from_the_last_attempt_that_wrote(on: On) {
    let store = roomy(on).await;
    unknown(&store, 1, b"first").await;
    advance(30 * SECOND).await;
    // An attempt that only reads.
    assert_eq!(state(&store, 1).await, "unknown first 30");
    advance(30 * SECOND).await;
    let Begin::Unknown { attempt, .. } = store.begin(&identity(1), by()).await.unwrap() else {
        panic!()
    };
    store.intend(key(1), attempt, Bytes::from_static(b"second")).await.unwrap();
    store.abandon(key(1), attempt);
    advance(5 * SECOND).await;
    assert_eq!(state(&store, 1).await, "unknown second 5");
}

async fn what_is_kept_is_not_dropped_for_room(on: On) {
    let store = sized(on, 3, 1 << 20).await;
    for id in 1..=3 {
        done(&store, id, b"x").await;
    }
    let refused = store.begin(&identity(4), by()).await.unwrap_err();
    assert_eq!((refused.reason(), refused.effect()), (Reason::CallerQuotaExceeded, Effect::None));
    for id in 1..=3 {
        assert_eq!(state(&store, id).await, "done x");
    }
}

async fn there_is_room_when_the_oldest_has_been_kept_long_enough(on: On) {
    let store = sized(on, 3, 1 << 20).await;
    for id in 1..=3 {
        done(&store, id, b"x").await;
        advance(SECOND).await;
    }
    advance(KEPT - 4 * SECOND).await;
    assert_eq!(refusal(&store, 4).await, Reason::CallerQuotaExceeded);
    advance(SECOND).await;
    let _running = fresh(&store, 4).await;
    assert_eq!(refusal(&store, 5).await, Reason::CallerQuotaExceeded);
    assert_eq!(state(&store, 2).await, "done x");
}

async fn what_wrote_nothing_takes_no_room(on: On) {
    let store = sized(on, 1, 1 << 20).await;
    let failed = || End::Failed(Error::new(Reason::ProfileNotFound, "x"));
    for id in 1..=50 {
        fresh(&store, id).await.finish(failed()).await;
        // Refused by the upstream, after it was journaled.
        sent(&store, id).await.finish(failed()).await;
        fresh(&store, id).await.finish(End::Nothing(Bytes::new())).await;
        fresh(&store, id).await.finish(End::Unknown).await;
        drop(fresh(&store, id).await);
        assert_eq!(store.size(), (0, 0));
    }
    done(&store, 51, b"x").await;
    assert_eq!(refusal(&store, 52).await, Reason::CallerQuotaExceeded);
}

const OTHER: CallerId = of_host(1);

const fn of_host(last: u8) -> CallerId {
    CallerId::Network { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), bits: 32 }
}

fn of_caller(caller: CallerId, id: u128) -> RequestIdentity {
    RequestIdentity { key: RequestKey { caller, ..key(id) }, ..identity(id) }
}

async fn done_for(store: &Tested, caller: CallerId, id: u128) {
    let identity = of_caller(caller, id);
    let Begin::Fresh(number) = store.begin(&identity, by()).await.unwrap() else { panic!() };
    store.intend(identity.key, number, Bytes::new()).await.unwrap();
    let result = End::Done(Bytes::from_static(b"theirs"));
    store.finish(identity.key, number, result).await.unwrap();
}

async fn callers_share_no_ids_and_each_has_its_share_of_the_room(on: On) {
    let store = sharing(on, 10, 1 << 20, 50).await;
    for id in 1..=5 {
        done(&store, id, b"mine").await;
    }
    assert_eq!(refusal(&store, 6).await, Reason::CallerQuotaExceeded);
    for id in 1..=5 {
        done_for(&store, OTHER, id).await;
        assert_eq!(state(&store, id).await, "done mine");
    }
    // Two that have their share have everything.
    let refused = store.begin(&of_caller(of_host(2), 1), by()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Overloaded);
}

async fn there_is_room_for_all_when_the_oldest_of_others_is_over(on: On) {
    let store = sharing(on, 2, 1 << 20, 50).await;
    done(&store, 1, b"mine").await;
    done_for(&store, OTHER, 1).await;
    let third = of_caller(of_host(2), 1);
    let refused = store.begin(&third, by()).await.unwrap_err();
    assert_eq!(refused.retry(), Retry::After(Some(KEPT)), "when the oldest is over");
    advance(KEPT).await;
    assert!(matches!(store.begin(&third, by()).await, Ok(Begin::Fresh(_))));
    assert_eq!(store.size().0, 1);
}

async fn a_caller_at_its_share_is_told_when_its_own_oldest_id_is_forgotten(on: On) {
    let store = sharing(on, 10, 1 << 20, 20).await;
    done_for(&store, OTHER, 1).await;
    let wait = async || store.begin(&identity(9), by()).await.unwrap_err().retry();
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

async fn running_and_unknown_writes_are_never_dropped_for_room(on: On) {
    let store = sized(on, 2, 1 << 20).await;
    unknown(&store, 1, b"x").await;
    let running = fresh(&store, 2).await;
    assert_eq!(refusal(&store, 3).await, Reason::CallerQuotaExceeded);
    assert!(state(&store, 1).await.starts_with("unknown"));
    assert_eq!(state(&store, 2).await, "running");
    running.finish(End::Done(Bytes::new())).await;
    drop(fresh(&store, 3).await);
}

async fn bytes_are_bounded_before_anything_is_sent(on: On) {
    let store = sized(on, 100, 2_100).await;
    let attempt = fresh(&store, 1).await;
    intends(&store, &attempt, &[b'y'; 1_000]).await.unwrap();
    assert_eq!(store.size(), (1, 1_512));
    let other = fresh(&store, 2).await;
    assert_eq!(store.size(), (2, 2_024));
    let refused = intends(&store, &other, &[b'z'; 100]).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::CallerQuotaExceeded);
    drop(other);
    assert_eq!(state(&store, 2).await, "fresh", "nothing was sent");
    attempt.finish(End::Done(Bytes::from_static(&[b'r'; 1_900]))).await;
    assert!(state(&store, 1).await.starts_with("done rrr"), "a result is always kept");
}

async fn a_superseded_attempt_changes_nothing(on: On) {
    let store = roomy(on).await;
    let old = fresh(&store, 1).await;
    let id = key(1);
    old.finish(End::Failed(Error::new(Reason::Overloaded, "x"))).await;
    let new = fresh(&store, 1).await;
    store.finish(id, new.number - 1, End::Done(Bytes::from_static(b"old"))).await.unwrap();
    store.abandon(id, new.number - 1);
    assert!(store.intend(id, new.number - 1, Bytes::new()).await.is_err());
    assert_eq!(state(&store, 1).await, "running");
}
