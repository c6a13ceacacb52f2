//! The rate, with and without a limit, and what 429s do to it.

use std::num::NonZeroU32;

use super::*;
use crate::upstream::{limits::WindowLimit, metrics::Shed};

const HOUR: Duration = Duration::from_secs(3600);

const CLASS: Class = Class::Settling;

fn limits(per_second: u32, burst: u32) -> Limits {
    let rate = RateLimit {
        per_second: NonZeroU32::new(per_second).unwrap(),
        burst: NonZeroU32::new(burst).unwrap(),
    };
    Limits { rate: Some(rate), ..Limits::NONE }
}

fn pace(per_second: u32, burst: u32) -> Pace {
    Pace::new(&limits(per_second, burst), HOUR, || 0.0, Instant::now())
}

fn unlimited() -> Pace {
    Pace::new(&Limits::NONE, HOUR, || 0.0, Instant::now())
}

/// A 429 to a request that was sent just before.
fn throttle(pace: &Pace, asked: impl Into<Option<Duration>>) -> Duration {
    pace.throttled(asked.into(), pace.epoch(), Instant::now())
}

/// Waits for a permit.
async fn permit(pace: &Pace) {
    while let Err(turn) = pace.take(CLASS, Instant::now()) {
        tokio::time::sleep_until(turn.at).await;
    }
}

/// How long this many permits take one after another, in milliseconds.
async fn time(pace: &Pace, permits: usize) -> u128 {
    let started = Instant::now();
    for _ in 0..permits {
        permit(pace).await;
    }
    started.elapsed().as_millis()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_burst_leaves_at_once_and_then_the_rate_holds() {
    let pace = pace(100, 50);
    assert_eq!(time(&pace, 50).await, 0);
    let took = time(&pace, 100).await;
    assert!((1000..=1100).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_429_pauses_halves_and_recovers_gradually() {
    let pace = pace(100, 50);
    let epoch = pace.epoch();
    for _ in 0..10 {
        pace.throttled(Some(3 * SECOND), epoch, Instant::now());
    }
    assert_eq!(pace.rate(Instant::now()), Some(50.0), "ten of one burst are one signal");
    assert_eq!(time(&pace, 1).await, 3000);
    let took = time(&pace, 50).await;
    assert!((900..=1030).contains(&took), "{took}");
    tokio::time::sleep(4 * SECOND).await;
    let rate = pace.rate(Instant::now()).unwrap();
    assert!((70.0..80.0).contains(&rate), "{rate}");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(pace.rate(Instant::now()), Some(100.0), "up to the limit and no further");
    for _ in 0..20 {
        throttle(&pace, Duration::ZERO);
    }
    assert!(pace.rate(Instant::now()).unwrap() >= 100.0 * LEAST, "never to zero");
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nothing_waits_until_there_is_a_429() {
    let pace = unlimited();
    assert_eq!(time(&pace, 10_000).await, 0);
    assert_eq!(pace.rate(Instant::now()), None);
}

// Regression: all that waited left in the same instant.
#[tokio::test(start_paused = true)]
async fn what_waited_for_a_pause_leaves_one_by_one_and_then_faster() {
    let pace = unlimited();
    throttle(&pace, 5 * SECOND);
    assert_eq!(time(&pace, 1).await, 5000);
    assert_eq!(time(&pace, 4).await, 1000, "four a second until one is answered");
    let expected = pace.when(CLASS, 60, Instant::now()).at;
    pace.answered(pace.epoch());
    let started = Instant::now();
    let took = time(&pace, 60).await;
    assert!((3000..5000).contains(&took), "{took}");
    let error = expected.saturating_duration_since(started).as_millis().abs_diff(took);
    assert!(error < 700, "foreseen with an error of {error} ms");
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(time(&pace, 10_000).await, 0, "it is over");
}

#[tokio::test(start_paused = true)]
async fn a_constant_429_is_asked_ever_more_rarely() {
    for pace in [unlimited(), pace(100, 50)] {
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert_eq!(throttle(&pace, None), seconds * SECOND);
            let (inside, after) = (Instant::now(), Instant::now() + seconds * SECOND);
            assert_eq!(pace.take(CLASS, inside).unwrap_err().at, after);
            tokio::time::sleep_until(after).await;
            permit(&pace).await;
        }
        // Another answer ends the row, but not one to a request sent before the last pause.
        let before = pace.epoch();
        assert_eq!(throttle(&pace, None), 60 * SECOND);
        pace.answered(before);
        assert_eq!(throttle(&pace, None), 60 * SECOND);
        pace.answered(pace.epoch());
        assert_eq!(throttle(&pace, None), SECOND.max(60 * SECOND), "the pause goes on");
        tokio::time::sleep(61 * SECOND).await;
        pace.answered(pace.epoch());
        assert_eq!(throttle(&pace, None), SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_asks_for_is_believed() {
    let pace = unlimited();
    for _ in 0..5 {
        assert_eq!(throttle(&pace, 7 * SECOND), 7 * SECOND);
        tokio::time::sleep(7 * SECOND).await;
    }
    pace.answered(pace.epoch());
    assert_eq!(throttle(&pace, Duration::ZERO), Duration::ZERO, "no pause, once");
    assert_eq!(throttle(&pace, Duration::ZERO), 2 * SECOND);
    let old = pace.epoch() - 1;
    assert_eq!(pace.throttled(None, old, Instant::now()), 2 * SECOND, "the same signal");
    assert_eq!(pace.throttled(Some(9 * SECOND), old, Instant::now()), 9 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn replicas_do_not_pause_for_the_same_time() {
    for (random, first, third) in [(0.0, 1000, 4000), (1.0, 1250, 5000)] {
        let random: fn() -> f64 = if random > 0.5 { || 1.0 } else { || 0.0 };
        let pace = Pace::new(&Limits::NONE, HOUR, random, Instant::now());
        assert_eq!(throttle(&pace, None).as_millis(), first);
        throttle(&pace, None);
        assert_eq!(throttle(&pace, None).as_millis(), third);
        for _ in 0..10 {
            throttle(&pace, None);
        }
        assert_eq!(throttle(&pace, None), LONGEST_PAUSE, "the longest is the longest");
    }
}

#[tokio::test(start_paused = true)]
async fn it_says_when_a_permit_will_be_there_and_why_not_now() {
    let (slow, now) = (pace(1, 1), Instant::now());
    assert_eq!(slow.when(CLASS, 3, now).at, now + 2 * SECOND);
    permit(&slow).await;
    let turn = slow.take(CLASS, now).unwrap_err();
    assert_eq!((turn.at, turn.refusal(now)), (now + SECOND, Refusal::Shed(Shed::Rate, SECOND)));
    throttle(&slow, 7 * SECOND);
    let turn = slow.when(CLASS, 1, now);
    assert_eq!(turn.refusal(now), Refusal::Paused(7 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn each_class_leaves_a_part_of_the_burst_to_those_before_it() {
    let (pace, now) = (pace(100, 50), Instant::now());
    for (class, some) in
        [(Class::Watch, 20), (Class::List, 10), (Class::Call, 10), (Class::Settling, 10)]
    {
        let taken = (0..100).filter(|_| pace.take(class, now).is_ok()).count();
        assert_eq!(taken, some, "{class:?}");
    }
    // Without requests of other classes, polls get the whole rate.
    tokio::time::sleep(SECOND).await;
    let started = Instant::now();
    for _ in 0..230 {
        while let Err(turn) = pace.take(Class::Watch, Instant::now()) {
            tokio::time::sleep_until(turn.at).await;
        }
    }
    let took = started.elapsed().as_millis();
    assert!((2000..2300).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_window_holds_back_what_the_rate_would_let_through() {
    let window = WindowLimit { requests: 10, length: 60 * SECOND };
    let limits = Limits { requests: Some(window), logins: Some(window), ..limits(100, 50) };
    let (pace, now) = (Pace::new(&limits, HOUR, || 0.0, Instant::now()), Instant::now());
    assert_eq!((0..100).filter(|_| pace.take(Class::Call, now).is_ok()).count(), 8);
    let turn = pace.take(Class::Call, now).unwrap_err();
    assert_eq!(turn.refusal(now), Refusal::Window(WindowName::Requests, 61 * SECOND));
    assert!(pace.take_login(now).is_ok() && pace.take(CLASS, now).is_ok());
    let refused = pace.take_login(now);
    assert_eq!(refused, Err(Refusal::Window(WindowName::Requests, 61 * SECOND)));
    // A pause that ends earlier is not what it waits for.
    throttle(&pace, SECOND);
    let turn = pace.when(CLASS, 1, now);
    assert_eq!(turn.refusal(now), Refusal::Window(WindowName::Requests, 61 * SECOND));
    throttle(&pace, 100 * SECOND);
    assert_eq!(pace.when(CLASS, 1, now).refusal(now), Refusal::Paused(100 * SECOND));
    assert_eq!(pace.sustainable(Class::Watch), Some(4.0 / 60.0));
}

#[tokio::test(start_paused = true)]
async fn the_next_process_goes_on_with_the_pause_and_the_rate() {
    use crate::store::Clock;
    for first in [pace(100, 50), unlimited()] {
        let clock = Clock::default();
        throttle(&first, HOUR / 2);
        let mut kept = first.keep(true, clock);
        kept.at = clock.to_kept(clock.now());
        let next = || match first.limit {
            Some(_) => pace(100, 50),
            None => unlimited(),
        };
        let second = next();
        second.go_on(&kept, clock);
        let now = Instant::now();
        let left = second.pause_left(now).as_secs();
        assert!((1790..=1800).contains(&left), "{left}");
        let (before, after) = (first.lock().rate, second.lock().rate);
        assert!((before..before * 1.2).contains(&after), "{before} {after}");
        assert_eq!(second.lock().strikes, 1);
        // The next one in a row is longer.
        assert!(second.end_pause(now));
        assert_eq!(throttle(&second, None), 2 * SECOND);

        let third = next();
        kept.at -= 3_600_000;
        third.go_on(&kept, clock);
        assert!(third.pause_left(now).is_zero(), "it has passed");
        assert_eq!(third.lock().rate, next().lock().rate, "it has grown");
        let fourth = next();
        (kept.at, kept.pause) = (kept.at + 7_200_000, u64::MAX);
        fourth.go_on(&kept, clock);
        let left = fourth.pause_left(now);
        assert_eq!(left, HOUR, "no longer than the upstream may ask for");
    }
}
