//! Who has a turn when, counted in work, on a paused clock.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::poll;
use tokio::{
    task::{JoinSet, yield_now},
    time::advance,
};

use super::*;
use crate::{
    caller::{CallerMetrics, CallerSettings},
    error::{Error, Reason},
    resources::Work,
    telemetry::Registry,
};

/// A millisecond of counted work.
const MILLISECOND: usize = 1_000_000;

type Begun = Pin<Box<dyn Future<Output = Result<Work>> + Send>>;

/// The processors, the callers, and what is counted of them.
struct Bench {
    processors: Processors,
    callers: Callers,
    registry: Registry,
}

fn bench(number: usize, share_percent: u32) -> Bench {
    let mut registry = Registry::new("test");
    let settings = CallerSettings { share_percent, ..CallerSettings::default() };
    let callers = Callers::new(settings, CallerMetrics::register(&mut registry));
    Bench { processors: Processors::of(number, &callers), callers, registry }
}

impl Bench {
    fn caller(&self, n: u8) -> Arc<Caller> {
        self.callers.at([192, 0, 2, n].into())
    }

    /// Work of a caller, which has the patience of a minute.
    fn work(&self, n: u8, milliseconds: usize) -> Begun {
        self.work_within(n, milliseconds, Duration::from_secs(60))
    }

    fn work_within(&self, n: u8, milliseconds: usize, patience: Duration) -> Begun {
        let (processors, caller) = (self.processors.clone(), self.caller(n));
        let deadline = Instant::now() + patience;
        Box::pin(async move {
            Work::of(&processors, &caller, deadline, milliseconds * MILLISECOND).await
        })
    }

    fn refused(&self, bound: &str) -> u64 {
        let name = format!(
            "profile_gateway_caller_refusals_total{{resource=\"work\",bound=\"{bound}\"}} "
        );
        let text = self.registry.encode();
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }

    /// Nothing is under way, and nothing waits.
    fn is_idle(&self) -> bool {
        let Shared { turns, places, .. } = &*self.processors.0;
        places.held() == 0 && turns.try_take().is_some()
    }
}

/// The work, if it may begin.
async fn begun(work: &mut Begun) -> Option<Work> {
    match poll!(work.as_mut()) {
        std::task::Poll::Ready(work) => Some(work.unwrap()),
        std::task::Poll::Pending => None,
    }
}

/// Why the work may not begin.
async fn refusal(work: &mut Begun) -> Error {
    match poll!(work.as_mut()) {
        std::task::Poll::Ready(work) => work.unwrap_err(),
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test(start_paused = true)]
async fn as_much_is_done_at_once_as_there_are_processors_one_after_the_other_in_turns() {
    let bench = bench(2, 50);
    let order = [(1, 'a'), (1, 'b'), (1, 'c'), (1, 'd'), (1, 'e'), (2, 'f'), (2, 'g'), (3, 'h')];
    let mut waiting: Vec<_> =
        order.iter().map(|(caller, name)| (*name, bench.work(*caller, 3))).collect();
    let (mut seen, mut under_way) = (String::new(), std::collections::VecDeque::new());
    while !waiting.is_empty() {
        let mut still = Vec::new();
        for (name, mut work) in waiting {
            match begun(&mut work).await {
                Some(work) => {
                    seen.push(name);
                    under_way.push_back(work);
                }
                None => still.push((name, work)),
            }
        }
        waiting = still;
        assert!(under_way.len() <= 2, "{}", under_way.len());
        drop(under_way.pop_front());
    }
    assert_eq!(seen, "abcfhdge");
    drop(under_way);
    assert!(bench.is_idle());
}

#[tokio::test(start_paused = true)]
async fn short_work_takes_no_turn() {
    let bench = bench(1, 50);
    let long = begun(&mut bench.work(1, 3)).await.unwrap();
    let (caller, deadline) = (bench.caller(1), Instant::now());
    let short = Work::of(&bench.processors, &caller, deadline, MILLISECOND - 1).await;
    assert!(short.is_ok() && begun(&mut bench.work(1, 1)).await.is_none());
    drop(long);
}

#[tokio::test(start_paused = true)]
async fn work_never_begins_that_its_caller_has_left() {
    let bench = bench(1, 50);
    let first = begun(&mut bench.work(1, 3)).await;
    let (mut left, mut next) = (bench.work(1, 3), bench.work(1, 3));
    assert!(begun(&mut left).await.is_none() && begun(&mut next).await.is_none());
    assert_eq!(bench.processors.0.places.held(), 9_000, "microseconds");
    drop(left);
    assert_eq!(bench.processors.0.places.held(), 6_000);
    drop(first);
    drop(begun(&mut next).await.unwrap());
    assert!(bench.is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_latest_is_done_first_once_the_first_has_waited_for_too_long() {
    let bench = bench(1, 50);
    let mut turn = begun(&mut bench.work(1, 3)).await;
    let mut waiting: Vec<_> = "abcd".chars().map(|name| (name, bench.work(1, 3))).collect();
    let mut seen = String::new();
    while !waiting.is_empty() {
        for (_, work) in &mut waiting {
            assert!(begun(work).await.is_none());
        }
        drop(turn.take());
        for (name, mut work) in std::mem::take(&mut waiting) {
            match begun(&mut work).await {
                Some(work) => {
                    seen.push(name);
                    turn = Some(work);
                }
                None => waiting.push((name, work)),
            }
        }
        advance(STANDING / 2).await;
    }
    assert_eq!(seen, "abdc");
    drop(turn);
    assert!(bench.is_idle());
}

#[tokio::test(start_paused = true)]
async fn work_that_would_be_over_too_late_when_its_turn_comes_does_not_begin() {
    let bench = bench(1, 50);
    let mut first = begun(&mut bench.work(1, 10)).await.unwrap();
    advance(Duration::from_millis(10)).await;
    first.done(10 * MILLISECOND).await;
    drop(first);
    let stuck = begun(&mut bench.work(1, 10)).await.unwrap();
    let mut late = bench.work_within(1, 10, Duration::from_millis(29));
    let mut next = bench.work(1, 10);
    assert!(begun(&mut late).await.is_none() && begun(&mut next).await.is_none());
    advance(Duration::from_millis(20)).await;
    drop(stuck);
    assert_eq!(refusal(&mut late).await.reason(), Reason::Overloaded);
    // The turn goes on to the next.
    drop(begun(&mut next).await.unwrap());
    assert_eq!(bench.refused("all"), 1);
    assert!(bench.is_idle());
}

#[tokio::test(start_paused = true)]
async fn one_caller_leaves_room_for_the_work_of_others() {
    let bench = bench(1, 50);
    let second = 1_000;
    // The longest may begin, though it is more than there may be.
    let longest = begun(&mut bench.work(1, 10 * second)).await.unwrap();
    let error = refusal(&mut bench.work(1, 2)).await;
    assert_eq!(error.reason(), Reason::CallerQuotaExceeded);
    let expected = "this caller has too many microseconds of work on long lists: its share is \
                    2000000 (`callers.share_percent`)";
    assert_eq!(error.message(), expected);
    // All of another caller's share, and then nothing is left.
    let mut others = [bench.work(2, second), bench.work(2, second)];
    for work in &mut others {
        assert!(begun(work).await.is_none());
    }
    let error = refusal(&mut bench.work(3, 2)).await;
    assert_eq!(error.reason(), Reason::Overloaded);
    assert_eq!((bench.refused("all"), bench.refused("caller")), (1, 1));
    drop((longest, others));
    assert!(bench.is_idle());
}

/// Runs work to its end, and notes who does each millisecond of it.
async fn run(work: Begun, milliseconds: usize, name: char, log: &parking_lot::Mutex<String>) {
    let mut work = work.await.unwrap();
    for _ in 0..milliseconds {
        log.lock().push(name);
        work.done(MILLISECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn long_work_lets_other_callers_in_and_then_goes_on_before_its_own() {
    let (bench, log) = (bench(1, 50), parking_lot::Mutex::default());
    tokio::join!(
        run(bench.work(1, 12), 12, 'a', &log),
        run(bench.work(1, 3), 3, 'b', &log),
        run(bench.work(2, 2), 2, 'c', &log),
        run(bench.work(2, 7), 7, 'd', &log),
    );
    assert_eq!(*log.lock(), "aaaaaccaaaaadddddaaddbbb");
}

#[tokio::test(start_paused = true)]
async fn very_long_work_lets_in_the_others_of_its_caller_too() {
    let (bench, log) = (bench(1, 50), parking_lot::Mutex::default());
    tokio::join!(run(bench.work(1, 120), 120, 'a', &log), run(bench.work(1, 3), 3, 'b', &log),);
    let expected = format!("{}bbb{}", "a".repeat(50), "a".repeat(70));
    assert_eq!(*log.lock(), expected);
}

#[tokio::test(start_paused = true)]
async fn slow_work_is_forgotten_once_work_is_fast_again() {
    let bench = bench(1, 50);
    for took in [Duration::from_secs(100)].into_iter().chain([Duration::ZERO; 100]) {
        // A free turn is given whatever recent work took.
        let work = begun(&mut bench.work_within(1, 10, Duration::from_millis(20))).await;
        let mut work = work.unwrap();
        advance(took).await;
        work.done(10 * MILLISECOND).await;
    }
    assert!(bench.processors.0.pace.lock().unwrap() < 1.0);
}

#[tokio::test]
async fn what_has_a_processor_waits_for_no_other_task_of_its_caller() {
    let bench = bench(1, 50);
    let (caller, polls) = (bench.caller(1), Arc::new(AtomicUsize::new(0)));
    let others: JoinSet<()> = (0..1000)
        .map(|_| {
            let polls = Arc::clone(&polls);
            caller.run(async move {
                loop {
                    polls.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            })
        })
        .collect();
    let (work, counted) = (bench.work(1, 20), Arc::clone(&polls));
    let passed = caller.run(async move {
        let mut work = work.await.unwrap();
        let before = counted.load(Ordering::Relaxed);
        for _ in 0..20 {
            work.done(MILLISECOND).await;
        }
        counted.load(Ordering::Relaxed) - before
    });
    let passed = tokio::spawn(passed).await.unwrap();
    assert!(passed < 5000, "{passed} polls of others");
    drop(others);
}
