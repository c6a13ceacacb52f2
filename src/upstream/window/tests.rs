//! Windows: what is left, for whom, until when, and what is foreseen.

use std::num::NonZeroU32;

use super::{kept::unseen, *};
use crate::{
    store::Clock,
    upstream::{kept::KeptWindow, limits::RateLimit},
};

const MINUTE: Duration = Duration::from_secs(60);

fn windows(requests: u32) -> Windows {
    let limit = |requests| Some(WindowLimit { requests, length: MINUTE });
    let limits = Limits { requests: limit(requests), logins: limit(5), ..Limits::NONE };
    Windows::new(&limits, Instant::now())
}

/// How many requests of a class go out now.
fn sent(windows: &mut Windows, class: Class, tries: usize) -> usize {
    let now = Instant::now();
    let send = |windows: &mut Windows| {
        let free = windows.next(class, 1, now).is_none();
        free.then(|| windows.count()).is_some()
    };
    (0..tries).filter(|_| send(windows)).count()
}

#[tokio::test(start_paused = true)]
async fn each_class_leaves_a_fifth_to_the_one_before_it() {
    let mut all = windows(100);
    for (class, some) in
        [(Class::Watch, 40), (Class::List, 20), (Class::Call, 20), (Class::Settling, 20)]
    {
        assert_eq!(sent(&mut all, class, 1000), some, "{class:?}");
        assert_eq!(sent(&mut all, Class::Watch, 1), 0);
    }
    assert_eq!(sent(&mut all, Class::Settling, 1), 0, "not one more");
    let mut few = windows(4);
    assert_eq!(sent(&mut few, Class::Watch, 9), 4, "too few to be divided");
}

#[tokio::test(start_paused = true)]
async fn no_time_of_its_length_has_more_than_the_limit() {
    let (mut windows, mut times) = (windows(50), Vec::new());
    for n in 0..3000_u64 {
        tokio::time::advance(Duration::from_millis(7 + n * 31 % 190)).await;
        if sent(&mut windows, Class::Settling, 1) == 1 {
            times.push(Instant::now());
        }
    }
    assert!(times.windows(51).all(|times| times[50] - times[0] >= MINUTE));
    let whole = (times[times.len() - 1] - times[0]).as_secs_f64() / 60.0;
    let most = 50.0 * (whole + 1.0);
    assert!(times.len() as f64 > 0.9 * most, "{} of {most}: hardly any is wasted", times.len());
}

#[tokio::test(start_paused = true)]
async fn it_says_when_there_will_be_more() {
    let mut windows = windows(10);
    assert_eq!(sent(&mut windows, Class::Settling, 4), 4);
    tokio::time::advance(MINUTE / 2).await;
    assert_eq!(sent(&mut windows, Class::Settling, 9), 6);
    let now = Instant::now();
    let wait = |windows: &mut Windows, class, requests| {
        let (at, name) = windows.next(class, requests, now).unwrap();
        assert_eq!(name, WindowName::Requests);
        (at - now).as_secs()
    };
    assert_eq!(wait(&mut windows, Class::Settling, 1), 31);
    assert_eq!(wait(&mut windows, Class::Settling, 4), 31);
    assert_eq!(wait(&mut windows, Class::Settling, 5), 61);
    assert_eq!(wait(&mut windows, Class::Call, 3), 61);
    assert_eq!(wait(&mut windows, Class::Call, 9), 92, "the ninth waits for the first");
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(sent(&mut windows, Class::Settling, 9), 4);
    // After a long time nothing is left of it.
    tokio::time::advance(1000 * MINUTE).await;
    assert_eq!(sent(&mut windows, Class::Settling, 99), 10);
}

#[tokio::test(start_paused = true)]
async fn it_says_when_a_class_has_room_for_many() {
    let (mut windows, now) = (windows(100), Instant::now());
    assert_eq!(windows.room_in(Class::Watch, 40, now), Duration::ZERO);
    assert_eq!(sent(&mut windows, Class::Watch, 30), 30);
    assert_eq!(windows.room_in(Class::Watch, 10, now), Duration::ZERO);
    assert_eq!(windows.room_in(Class::Watch, 11, now).as_secs(), 61);
    assert_eq!(windows.room_in(Class::Watch, 4000, now).as_secs(), 61, "all that it may have");
}

#[tokio::test(start_paused = true)]
async fn logins_count_as_requests_too() {
    let mut windows = windows(100);
    for _ in 0..5 {
        windows.count_login(Instant::now()).unwrap();
    }
    let (until, name) = windows.count_login(Instant::now()).unwrap_err();
    assert_eq!((name, (until - Instant::now()).as_secs()), (WindowName::Logins, 61));
    let used: Vec<_> = windows.usage(Instant::now()).iter().map(|u| (u.window, u.used)).collect();
    assert_eq!(used, [(WindowName::Requests, 5), (WindowName::Logins, 5)]);
    assert_eq!(sent(&mut windows, Class::Settling, 99), 95);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(windows.count_login(Instant::now()).unwrap_err().1, WindowName::Logins);
}

/// What is foreseen for requests, in seconds.
fn foreseen(windows: &mut Windows) -> Option<u64> {
    windows.usage(Instant::now())[0].exhausted_in.map(|time| time.as_secs())
}

#[tokio::test(start_paused = true)]
async fn it_foresees_when_the_limit_is_reached() {
    let mut windows = windows(100);
    assert_eq!(foreseen(&mut windows), None);
    // Two a second: a hundred after fifty seconds.
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(sent(&mut windows, Class::Settling, 2), 2);
    }
    let left = foreseen(&mut windows).unwrap();
    assert!((25..=31).contains(&left), "{left}");
    // One a second never reaches it.
    for _ in 0..120 {
        tokio::time::advance(Duration::from_secs(1)).await;
        sent(&mut windows, Class::Settling, 1);
    }
    assert_eq!(foreseen(&mut windows), None);
    assert_eq!(sent(&mut windows, Class::Settling, 100), 39);
    assert_eq!(foreseen(&mut windows), Some(0));
}

#[test]
fn what_a_class_can_go_on_with_is_what_the_tightest_window_leaves() {
    let window =
        |requests, seconds| Some(WindowLimit { requests, length: Duration::from_secs(seconds) });
    let (requests, monthly_requests) = (window(2000, 300), window(1000, 1000));
    let limits = Limits { requests, monthly_requests, ..Limits::NONE };
    let sustainable = |limits| Windows::new(&limits, Instant::now()).sustainable(Class::Watch);
    assert_eq!(sustainable(limits), Some(0.4));
    assert_eq!(sustainable(Limits { monthly_requests: None, ..limits }), Some(800.0 / 300.0));
    assert_eq!(sustainable(Limits::NONE), None);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_class_may_send_at_once_takes_several_windows() {
    let mut windows = windows(50);
    let (now, whole) = (Instant::now(), MINUTE + MINUTE / 60);
    assert_eq!(windows.room(Class::List, now), Some(30));
    assert_eq!(windows.part(Class::List, WindowName::Requests).unwrap().1, 30);
    let wait = |windows: &mut Windows, requests| {
        let next = windows.next(Class::List, requests, now);
        next.map_or(Duration::ZERO, |(at, _)| at - now)
    };
    for (requests, after) in [(30, 0), (31, 1), (60, 1), (61, 2)] {
        assert_eq!(wait(&mut windows, requests), whole * after, "{requests}");
    }
    assert!(wait(&mut windows, u32::MAX) > whole * 1000);
    assert_eq!(sent(&mut windows, Class::List, 10), 10);
    assert_eq!(windows.room(Class::List, now), Some(20));
    for (requests, after) in [(20, 0), (21, 1), (30, 1), (31, 1), (50, 1), (51, 2)] {
        assert_eq!(wait(&mut windows, requests), whole * after, "{requests}");
    }
    // What it foresees is what happens.
    let (foreseen, _) = windows.next(Class::List, 75, now).unwrap();
    for _ in 0..75 {
        if let Some((at, _)) = windows.next(Class::List, 1, Instant::now()) {
            tokio::time::sleep_until(at).await;
        }
        assert_eq!(sent(&mut windows, Class::List, 1), 1);
    }
    assert_eq!(Instant::now(), foreseen);
}

/// The windows of the next process, after so much of it has passed.
async fn next(windows: &mut Windows, running: bool, down: Duration) -> Windows {
    let clock = Clock::default();
    let kept = windows.keep(running, None, clock, Instant::now());
    // Their times are of the clock of the machine, which no test turns.
    let earlier = |mut kept: KeptWindow| {
        kept.since -= u64::try_from(down.as_millis()).unwrap();
        kept
    };
    let kept: Vec<KeptWindow> = kept.into_iter().map(earlier).collect();
    let clock = Clock::default();
    let limit = |requests| Some(WindowLimit { requests, length: MINUTE });
    let limits = Limits { requests: limit(100), logins: limit(5), ..Limits::NONE };
    let mut next = Windows::new(&limits, Instant::now());
    next.go_on(&kept, clock, Instant::now());
    next
}

fn used(windows: &mut Windows) -> [u32; 2] {
    let usage = windows.usage(Instant::now());
    [usage[0].used, usage[1].used]
}

#[tokio::test(start_paused = true)]
async fn the_next_process_goes_on_counting() {
    let mut first = windows(100);
    assert!(first.count_login(Instant::now()).is_ok());
    assert_eq!(sent(&mut first, Class::Settling, 9), 9);
    tokio::time::advance(MINUTE / 2).await;
    assert_eq!(sent(&mut first, Class::Settling, 20), 20);
    let second = &mut next(&mut first, false, Duration::ZERO).await;
    assert_eq!(used(second), [30, 1]);
    // However often it is started, what is out of the window is out of it.
    let mut last = next(second, false, Duration::ZERO).await;
    for _ in 0..50 {
        last = next(&mut last, false, Duration::from_millis(640)).await;
    }
    assert_eq!(used(&mut last), [20, 0]);
    assert_eq!(used(&mut next(&mut last, false, MINUTE / 4).await), [20, 0]);
    assert_eq!(used(&mut next(&mut last, false, MINUTE).await), [0, 0]);
    let free = last.room_in(Class::Settling, 100, Instant::now());
    assert!((27..=31).contains(&free.as_secs()), "{free:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_kept_is_counted_on_the_safe_side() {
    let mut first = windows(100);
    assert!(!first.count(), "nothing keeps them");
    let mut second = next(&mut first, false, Duration::ZERO).await;
    assert_eq!(used(&mut second), [1, 0]);
    assert!(!second.has_unkept());
    second.keep(false, None, Clock::default(), Instant::now());
    assert!(second.count(), "the first one after a silence");
    assert!(second.has_unkept());
    // It died while it was running.
    let mut third = next(&mut second, true, Duration::ZERO).await;
    assert_eq!(used(&mut third), [3, 0], "a hundredth more");
    assert_eq!(used(&mut next(&mut third, false, Duration::ZERO).await), [3, 0], "only once");
    let rate = RateLimit { per_second: NonZeroU32::MIN, burst: NonZeroU32::MIN };
    let month = WindowLimit { requests: 1_000_000, length: MINUTE };
    assert_eq!((unseen(month, None), unseen(month, Some(rate))), (10_000, 2));
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_within_the_window() {
    let mut first = windows(100);
    assert_eq!(sent(&mut first, Class::Settling, 60), 60);
    let clock = Clock::default();
    let kept = first.keep(false, None, clock, Instant::now());
    let used_with = |change: fn(&mut KeptWindow)| {
        let mut kept = kept.clone();
        change(&mut kept[0]);
        let mut next = windows(100);
        next.go_on(&kept, clock, Instant::now());
        let free = next.room_in(Class::Settling, 100, Instant::now());
        assert!(free <= MINUTE * 62 / 60, "{free:?}");
        used(&mut next)[0]
    };
    assert_eq!(used_with(|_| {}), 60);
    assert_eq!(used_with(|kept| kept.since += 86_400_000), 60, "the clock was set back");
    assert_eq!(used_with(|kept| kept.since = 0), 0);
    assert_eq!(used_with(|kept| kept.counts = vec![u32::MAX; 1000]), 100);
    assert_eq!(used_with(|kept| kept.more = u32::MAX), 100);
    assert_eq!(used_with(|kept| kept.length += 1), 0, "it is another window");
    assert_eq!(used_with(|kept| kept.name = "other".to_owned()), 0);
}
