//! Change streams on a paused clock.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{Bench, bench, call, creation, within};
use crate::{
    error::{Error, Reason, Result},
    gateway::watch::ChangeStream,
    pb::{ChangeKind, ProfileChange, WatchProfilesRequest, WatchProfilesResponse},
};

const PARENT: &str = "backends/fake";
const INTERVAL: Duration = Duration::from_secs(30);

/// The display names by profile name, as a client has them that applies the changes of a stream.
#[derive(Default, Clone, Debug, PartialEq)]
struct Copy {
    names: BTreeMap<String, String>,
    token: String,
    complete: bool,
}

impl Copy {
    /// Applies a change, which must change something: nothing is sent twice.
    fn apply(&mut self, change: &ProfileChange) {
        let profile = change.profile.clone().unwrap();
        let before = self.names.get(&profile.name).cloned();
        let after = match change.kind() {
            ChangeKind::Removed => self.names.remove(&profile.name).and(None),
            _ => {
                self.names.insert(profile.name.clone(), profile.display_name.clone());
                Some(profile.display_name)
            }
        };
        assert_ne!(before, after, "{} {:?}", profile.name, change.kind());
        let added = change.kind() == ChangeKind::Added;
        assert_eq!(added, before.is_none(), "{} {:?}", profile.name, change.kind());
        change.resume_token.clone_into(&mut self.token);
    }

    fn take(&mut self, answer: &WatchProfilesResponse) {
        answer.changes.iter().for_each(|change| self.apply(change));
        self.complete = answer.snapshot_complete;
    }

    /// Applies all answers that come without waiting.
    async fn take_all(&mut self, watcher: &mut ChangeStream) {
        while let Ok(answer) = timeout(Duration::from_millis(1), next(watcher)).await {
            self.take(&answer.unwrap());
        }
    }

    async fn take_next(&mut self, watcher: &mut ChangeStream) {
        self.take(&next(watcher).await.unwrap());
    }

    fn names(&self) -> Vec<&str> {
        self.names.values().map(String::as_str).collect()
    }
}

async fn next(watcher: &mut ChangeStream) -> Result<WatchProfilesResponse> {
    Ok(watcher.next().await.unwrap()?.message().unwrap())
}

impl Bench {
    async fn watch(&self, token: &str) -> Result<ChangeStream> {
        let request =
            WatchProfilesRequest { parent: PARENT.into(), resume_token: token.to_owned() };
        self.gateway.watch_profiles(&call(), &request).await
    }

    fn put(&self, ids: Range<u32>, name: &str) {
        ids.for_each(|id| self.fake.put(id, Some(&format!("{name}{id}"))));
    }

    fn remove(&self, ids: Range<u32>) {
        ids.for_each(|id| self.fake.put(id, None));
    }
}

#[track_caller]
fn refused(result: Result<ChangeStream>) -> Error {
    result.err().expect("the stream should be refused")
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_all_profiles_and_continues_with_changes() {
    let bench = bench();
    bench.put(1..4, "a");
    let mut watcher = bench.watch("").await.unwrap();
    let mut copy = Copy::default();
    copy.take_next(&mut watcher).await;
    assert_eq!((copy.names(), copy.complete), (vec!["a1", "a2", "a3"], true));
    bench.put(2..3, "b");
    bench.remove(1..2);
    let before = Instant::now();
    let answer = next(&mut watcher).await.unwrap();
    assert_eq!(before.elapsed(), INTERVAL);
    assert_eq!(answer.changes[1].changed_fields.as_ref().unwrap().paths, ["display_name"]);
    assert_eq!(answer.changes[0].profile.as_ref().unwrap().display_name, "");
    copy.take(&answer);
    assert_eq!(copy.names(), ["b2", "a3"]);
    // Nothing is sent during a day without changes.
    assert!(timeout(24 * 120 * INTERVAL, watcher.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_empty_backend_sends_an_empty_complete_snapshot() {
    let bench = bench();
    let mut watcher = bench.watch("").await.unwrap();
    let answer = next(&mut watcher).await.unwrap();
    assert_eq!((answer.changes.len(), answer.snapshot_complete), (0, true));
    assert!(timeout(INTERVAL / 2, watcher.next()).await.is_err(), "it says so only once");
}

#[tokio::test(start_paused = true)]
async fn a_write_through_the_gateway_is_sent_at_once() {
    let bench = bench();
    bench.put(1..2, "a");
    let mut watcher = bench.watch("").await.unwrap();
    let mut copy = Copy::default();
    copy.take_all(&mut watcher).await;
    let before = Instant::now();
    bench.update("", "b").await.unwrap();
    copy.take_next(&mut watcher).await;
    assert_eq!(copy.names(), ["b"]);
    bench.gateway.create_profile(&call(), creation("", "c")).await.unwrap();
    copy.take_next(&mut watcher).await;
    assert_eq!(copy.names(), ["b", "c"]);
    bench.delete("").await.unwrap();
    copy.take_next(&mut watcher).await;
    assert_eq!(copy.names(), ["c"]);
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_write_during_a_poll_causes_another_poll() {
    let bench = bench();
    bench.put(1..2, "a");
    let mut watcher = bench.watch("").await.unwrap();
    let mut copy = Copy::default();
    copy.take_all(&mut watcher).await;
    bench.fake.list_takes(Duration::from_secs(5));
    // In the middle of the next regular poll.
    sleep(INTERVAL + Duration::from_secs(2)).await;
    bench.update("", "b").await.unwrap();
    let written = Instant::now();
    copy.take_next(&mut watcher).await;
    assert_eq!(copy.names(), ["b"]);
    // The remaining 3 s of that poll, a pause as long as it took, and another poll.
    let waited = written.elapsed() + Duration::from_millis(10);
    assert_eq!(waited.as_secs(), 13, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn polls_after_writes_take_at_most_half_the_time() {
    let bench = bench();
    bench.put(1..2, "a");
    let watcher = bench.watch("").await.unwrap();
    bench.fake.list_takes(Duration::from_secs(1));
    let before = bench.fake.lists();
    for n in 0..100 {
        bench.update("", &n.to_string()).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    let polls = bench.fake.lists() - before;
    assert!((9..=11).contains(&polls), "{polls} polls in 20 s");
    drop(watcher);
}

#[tokio::test(start_paused = true)]
async fn one_task_polls_for_all_streams_and_only_while_one_is_open() {
    let bench = bench();
    bench.put(1..2, "a");
    let mut first = bench.watch("").await.unwrap();
    let second = bench.watch("").await.unwrap();
    assert_eq!(bench.fake.lists(), 1);
    sleep(10 * INTERVAL + INTERVAL / 2).await;
    assert_eq!(bench.fake.lists(), 11);
    let mut copy = Copy::default();
    copy.take_all(&mut first).await;
    drop((first, second));
    sleep(10 * INTERVAL).await;
    assert_eq!(bench.fake.lists(), 11);
    bench.put(1..2, "b");
    let mut third = bench.watch("").await.unwrap();
    let mut fresh = Copy::default();
    fresh.take_all(&mut third).await;
    assert_eq!(fresh.names(), ["b1"], "an unwatched backend is polled again");
    let mut resumed = bench.watch(&copy.token).await.unwrap();
    copy.take_all(&mut resumed).await;
    assert_eq!(copy.names(), ["b1"], "changes without an open stream are sent on resuming");
}

#[tokio::test(start_paused = true)]
async fn streams_that_come_and_go_cost_no_more_than_one_that_stays() {
    let bench = bench();
    bench.put(1..2, "a");
    for fails in [false, true] {
        if fails {
            bench.fake.cannot_list();
        }
        // Those that stay until the poll has ended, and those that leave before.
        for patience in [INTERVAL, Duration::from_millis(1)] {
            bench.fake.list_takes(Duration::from_millis(2));
            let before = bench.fake.lists();
            for _ in 0..100 {
                if let Ok(Ok(mut watcher)) = timeout(patience, bench.watch("")).await {
                    let mut copy = Copy::default();
                    copy.take_next(&mut watcher).await;
                    assert_eq!(copy.names(), ["a1"]);
                }
                sleep(INTERVAL / 10).await;
            }
            let polls = bench.fake.lists() - before;
            assert!((5..=11).contains(&polls), "{polls} polls; {fails} {patience:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_write_sees_it() {
    let bench = bench();
    bench.put(1..2, "a");
    drop(bench.watch("").await.unwrap());
    bench.update("", "b").await.unwrap();
    let polls = bench.fake.lists();
    sleep(INTERVAL / 2).await;
    assert_eq!(bench.fake.lists(), polls, "no stream is open");
    let mut copy = Copy::default();
    copy.take_next(&mut bench.watch("").await.unwrap()).await;
    assert_eq!(copy.names(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_backend_keeps_its_streams_and_accepts_no_new_ones() {
    let bench = bench();
    bench.put(1..3, "a");
    let mut watcher = bench.watch("").await.unwrap();
    let mut copy = Copy::default();
    copy.take_all(&mut watcher).await;
    bench.fake.cannot_list();
    bench.put(1..2, "b");
    assert!(timeout(10 * INTERVAL, watcher.next()).await.is_err());
    assert_eq!(refused(bench.watch("").await).reason(), Reason::UpstreamPermissionDenied);
    let mut resumed = bench.watch(&copy.token).await.unwrap();
    bench.fake.can_list();
    let mut other = copy.clone();
    copy.take_next(&mut watcher).await;
    other.take_next(&mut resumed).await;
    assert_eq!((copy.names(), other.names()), (vec!["b1", "a2"], vec!["b1", "a2"]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_does_not_wait_for_its_first_poll_beyond_the_deadline() {
    let bench = bench();
    bench.fake.list_takes(INTERVAL);
    let request = WatchProfilesRequest { parent: PARENT.into(), ..Default::default() };
    let call = within(Duration::from_secs(1));
    let error = refused(bench.gateway.watch_profiles(&call, &request).await);
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    let request = WatchProfilesRequest { parent: "backends/-".into(), ..request };
    let mut watcher = bench.gateway.watch_profiles(&call, &request).await.unwrap();
    assert!(next(&mut watcher).await.unwrap().snapshot_complete);
}

/// A client can resume from every token of a stream, including those of its initial list, while
/// profiles change: it gets each change once and ends with the right names.
#[tokio::test(start_paused = true)]
async fn every_token_resumes_without_loss_or_repeat() {
    let bench = bench();
    bench.put(1..251, "a");
    let mut watcher = bench.watch("").await.unwrap();
    let (mut copy, mut copies) = (Copy::default(), Vec::new());
    let mut see = |copy: &mut Copy, answer: &WatchProfilesResponse| {
        for change in &answer.changes {
            copy.apply(change);
            copies.push(copy.clone());
        }
    };
    // The initial list takes three answers; in between, profiles change before and after its
    // position.
    for (round, name) in ["b", "c", "d", "e", "f"].into_iter().enumerate() {
        let answer = next(&mut watcher).await.unwrap();
        assert_eq!(answer.snapshot_complete, round >= 2, "{round}");
        see(&mut copy, &answer);
        bench.put(50..60, name);
        bench.put(240..260, name);
        bench.remove(if round % 2 == 0 { 90..120 } else { 200..230 });
        bench.put(if round % 2 == 0 { 200..230 } else { 90..120 }, name);
        sleep(INTERVAL).await;
    }
    copy.take_all(&mut watcher).await;
    drop(watcher);
    assert!(copies.len() > 300, "{}", copies.len());
    for mut earlier in copies {
        let token = earlier.token.clone();
        let mut resumed = bench.watch(&token).await.unwrap();
        earlier.take_all(&mut resumed).await;
        assert!(earlier.names == copy.names, "after {token}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_stream_is_dropped_and_others_are_served() {
    let bench = bench();
    bench.put(1..2, "a");
    let mut slow = bench.watch("").await.unwrap();
    let mut quick = bench.watch("").await.unwrap();
    let mut copy = Copy::default();
    next(&mut slow).await.unwrap();
    copy.take_all(&mut quick).await;
    let old = copy.token.clone();
    for (ids, name) in [(1..5000, "b"), (1..5000, "c"), (1..3000, "d")] {
        bench.put(ids, name);
        sleep(INTERVAL + Duration::from_secs(1)).await;
        copy.take_all(&mut quick).await;
    }
    assert_eq!(copy.names.len(), 4999);
    let error = slow.next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Reason::WatchFellBehind);
    assert!(slow.next().await.is_none());
    drop(slow);
    assert_eq!(refused(bench.watch(&old).await).reason(), Reason::ResumeTokenExpired);
    let mut resumed = bench.watch(&copy.token).await.unwrap();
    bench.put(1..2, "e");
    copy.take_next(&mut resumed).await;
    assert_eq!(copy.names["backends/fake/profiles/1"], "e1");
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded() {
    let bench = bench();
    let one = bench.watch("").await.unwrap();
    let two = bench.watch("").await.unwrap();
    assert_eq!(refused(bench.watch("").await).reason(), Reason::Overloaded);
    drop(one);
    bench.watch("").await.unwrap();
    drop(two);
}
