//! Slots, the queue for them, and the rate that requests leave at.

use std::{num::NonZeroU32, sync::Arc};

use tokio::{task::JoinHandle, time::timeout};

use super::*;
use crate::{
    caller::Callers,
    upstream::limits::{Limits, RateLimit, WindowLimit},
};

const HOUR: Duration = Duration::from_secs(3600);

/// A bulkhead and the rate of what passes it.
#[derive(Clone)]
struct Door {
    bulkhead: Arc<Bulkhead>,
    pace: Arc<Pace>,
    metrics: BackendUpstreamMetrics,
}

impl Door {
    fn new(slots: usize, queue: usize, rate: Option<RateLimit>) -> Self {
        let metrics = BackendUpstreamMetrics::unread();
        let limits = Limits { rate, ..Limits::NONE };
        let bulkhead = Arc::new(Bulkhead::new(slots, queue, limits, metrics.clone()));
        Self { bulkhead, pace: Arc::new(Pace::new(&limits, HOUR, || 0.0, Instant::now())), metrics }
    }

    async fn enter(&self, seconds: u64) -> Result<Slot<'_>, Refusal> {
        self.enter_as(Class::Call, seconds).await
    }

    async fn enter_as(&self, class: Class, seconds: u64) -> Result<Slot<'_>, Refusal> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        self.bulkhead.enter(&self.pace, (class, Caller::gateway()), &deadline).await
    }

    /// A request that is over as soon as it may be sent, and when that was.
    fn passer(&self) -> JoinHandle<Result<Instant, Refusal>> {
        let door = self.clone();
        tokio::spawn(async move { door.enter(60).await.map(|_slot| Instant::now()) })
    }
}

/// One request at a time, of so many each second.
fn per_second(requests: u32) -> Option<RateLimit> {
    let per_second = NonZeroU32::new(requests).unwrap();
    Some(RateLimit { per_second, burst: NonZeroU32::MIN })
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_and_others_wait_their_turn() {
    let door = Door::new(1, 2, None);
    let slot = door.enter(60).await.ok().unwrap();
    let waiters = [door.passer(), door.passer()];
    tokio::task::yield_now().await;
    assert_eq!(door.metrics.depth(), (2, 1));
    let before = Instant::now();
    assert!(matches!(door.enter(60).await, Err(Refusal::Shed(Shed::Full, _))));
    assert_eq!(Instant::now(), before, "without waiting");
    drop(slot);
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!(door.metrics.depth(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_deadline_and_leaves_the_queue() {
    let door = Door::new(1, 1, None);
    let _slot = door.enter(60).await.ok().unwrap();
    let before = Instant::now();
    assert!(matches!(door.enter(3).await, Err(Refusal::Shed(Shed::Waited, _))));
    assert_eq!(before.elapsed().as_secs(), 3);
    // A caller that leaves does too.
    assert!(timeout(Duration::from_secs(1), door.enter(60)).await.is_err());
    assert_eq!(door.metrics.depth(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_get_a_slot_in_time_does_not_wait() {
    let door = Door::new(1, 10, None);
    let slot = door.enter(60).await.ok().unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    drop(slot);
    let _slot = door.enter(60).await.ok().unwrap();
    let before = Instant::now();
    let Err(refusal) = door.enter(5).await else { panic!("a second slot") };
    assert_eq!(refusal, Refusal::Shed(Shed::TooLate, Duration::from_secs(10)));
    assert_eq!(Instant::now(), before, "without waiting");
}

// Regression: a slot was taken before the wait for the rate.
#[tokio::test(start_paused = true)]
async fn what_waits_for_the_rate_holds_no_slot() {
    let door = Door::new(64, 64, per_second(1));
    let started = Instant::now();
    let passers: Vec<_> = (0..10).map(|_| door.passer()).collect();
    tokio::task::yield_now().await;
    assert_eq!(door.metrics.depth(), (9, 0), "nine wait, none is in flight");
    for (n, passer) in (0..).zip(passers) {
        let passed = passer.await.unwrap().unwrap();
        assert_eq!((passed - started).as_secs(), n, "in their order");
    }
    assert_eq!(door.metrics.depth(), (0, 0));
}

// Regression: a request that gave up waiting kept its place in the rate.
#[tokio::test(start_paused = true)]
async fn who_leaves_gives_its_place_in_the_rate_back() {
    let door = Door::new(64, 64, per_second(1));
    door.enter(60).await.unwrap();
    let started = Instant::now();
    let leavers: Vec<_> = (0..30).map(|_| door.passer()).collect();
    tokio::task::yield_now().await;
    let last = door.passer();
    tokio::task::yield_now().await;
    leavers.iter().for_each(JoinHandle::abort);
    let passed = last.await.unwrap().unwrap();
    assert_eq!((passed - started).as_secs(), 1, "the thirty before it are gone");
    // A new one is not told that they are in its way either.
    assert!(door.enter(5).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_turn_after_the_deadline_is_refused_at_once() {
    let door = Door::new(64, 64, per_second(1));
    let waiting: Vec<_> = (0..11).map(|_| door.passer()).collect();
    tokio::task::yield_now().await;
    let before = Instant::now();
    let Err(refusal) = door.enter(5).await else { panic!("sent too early") };
    assert_eq!(refusal, Refusal::Shed(Shed::Rate, Duration::from_secs(11)));
    assert_eq!(Instant::now(), before, "without waiting");
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_what_waits_already() {
    let (door, second) = (Door::new(64, 64, per_second(1)), Duration::from_secs(1));
    door.enter(60).await.unwrap();
    let waiting = door.passer();
    tokio::task::yield_now().await;
    let before = Instant::now();
    door.pace.throttled(Some(9 * second), door.pace.epoch(), before);
    assert!(waiting.await.unwrap().unwrap() >= before + 9 * second);
    // If it is too long, it does not wait for it to pass.
    let waiting = door.passer();
    tokio::task::yield_now().await;
    let before = Instant::now();
    door.pace.throttled(Some(900 * second), door.pace.epoch(), before);
    assert!(matches!(waiting.await.unwrap(), Err(Refusal::Paused(_))));
    assert!(before.elapsed() < 9 * second);
}

#[tokio::test(start_paused = true)]
async fn a_class_does_not_wait_behind_one_that_comes_after_it() {
    let mut door = Door::new(64, 64, None);
    let window = Some(WindowLimit { requests: 10, length: Duration::from_secs(60) });
    let limits = Limits { requests: window, ..Limits::NONE };
    door.pace = Arc::new(Pace::new(&limits, HOUR, || 0.0, Instant::now()));
    for _ in 0..4 {
        door.enter_as(Class::Watch, 90).await.unwrap();
    }
    let started = Instant::now();
    let watch = {
        let door = door.clone();
        tokio::spawn(async move { door.enter_as(Class::Watch, 90).await.map(drop) })
    };
    tokio::task::yield_now().await;
    for _ in 0..4 {
        door.enter_as(Class::Call, 1).await.unwrap();
    }
    let Err(refusal) = door.enter_as(Class::Call, 30).await else { panic!("the last fifth") };
    assert!(matches!(refusal, Refusal::Window(..)), "{refusal:?}");
    for _ in 0..2 {
        door.enter_as(Class::Settling, 1).await.unwrap();
    }
    assert_eq!(Instant::now(), started, "none of them waited");
    watch.await.unwrap().unwrap();
    assert!(started.elapsed().as_secs() >= 60);
}

#[tokio::test(start_paused = true)]
async fn what_costs_many_requests_is_refused_first() {
    let door = Door::new(1, 4, None);
    let _slot = door.enter(60).await.ok().unwrap();
    let waiters = [door.passer(), door.passer(), door.passer()];
    tokio::task::yield_now().await;
    assert!(matches!(door.enter_as(Class::List, 60).await, Err(Refusal::Shed(Shed::Full, _))));
    assert_eq!(door.metrics.depth(), (3, 1));
    let last = door.passer();
    tokio::task::yield_now().await;
    assert_eq!(door.metrics.depth(), (4, 1));
    drop((waiters, last));
}

#[tokio::test(start_paused = true)]
async fn there_is_room_where_a_request_would_find_it_now() {
    let door = Door::new(1, 4, None);
    let room = |class| door.bulkhead.has_room((class, Caller::gateway()));
    assert!(room(Class::List).is_ok());
    let slot = door.enter(60).await.ok().unwrap();
    let mut waiters = vec![door.passer(), door.passer()];
    tokio::task::yield_now().await;
    // A list leaves one of four places to single requests.
    assert!(room(Class::List).is_ok());
    waiters.push(door.passer());
    tokio::task::yield_now().await;
    let full = Refusal::Shed(Shed::Full, Duration::ZERO);
    assert_eq!((room(Class::List), room(Class::Call)), (Err(full), Ok(())));
    assert_eq!(door.enter_as(Class::List, 60).await.err(), Some(full));
    waiters.push(door.passer());
    tokio::task::yield_now().await;
    assert_eq!(room(Class::Call), Err(full));
    assert_eq!(door.enter(60).await.err(), Some(full));
    assert_eq!(door.metrics.depth(), (4, 1), "looking takes nothing");
    drop(slot);
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!(door.metrics.depth(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_another_caller_where_one_has_its_share_of_the_queue() {
    let (door, callers) = (Door::new(1, 8, None), Callers::default());
    let (greedy, other) = (callers.at([192, 0, 2, 1].into()), callers.at([192, 0, 2, 2].into()));
    let enter = |caller: Arc<Caller>| {
        let door = door.clone();
        tokio::spawn(async move {
            let deadline = Instant::now() + HOUR;
            let slot = door.bulkhead.enter(&door.pace, (Class::Call, &caller), &deadline).await;
            slot.map(drop)
        })
    };
    let room = |caller| door.bulkhead.has_room((Class::Call, caller));
    let _slot = door.enter(60).await.ok().unwrap();
    let mut waiters = vec![enter(Arc::clone(&other))];
    tokio::task::yield_now().await;
    while room(&greedy).is_ok() {
        waiters.push(enter(Arc::clone(&greedy)));
        tokio::task::yield_now().await;
    }
    assert_eq!(door.metrics.depth(), (5, 1));
    let refused = enter(Arc::clone(&greedy)).await.unwrap();
    assert!(matches!(refused, Err(Refusal::Shed(Shed::CallerQueue, _))));
    assert_eq!(room(&greedy).err(), refused.err());
    assert!(room(&other).is_ok());
    waiters.iter().for_each(JoinHandle::abort);
}
