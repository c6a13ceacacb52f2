//! When the circuit breaker opens, what it lets through, and when it closes.

use std::cell::Cell;

use super::*;

const THRESHOLDS: Thresholds = Thresholds {
    failures: 5,
    percent: 50,
    min_calls: 20,
    window: Duration::from_secs(10),
    open: Duration::from_secs(4),
    max_open: Duration::from_secs(10),
};

struct Bench {
    breaker: Breaker,
    now: Cell<Instant>,
}

impl Bench {
    fn new(thresholds: Thresholds) -> Self {
        let now = Instant::now();
        Self { breaker: Breaker::new(Some(thresholds), || 1.0, now), now: Cell::new(now) }
    }

    /// Sends one request; false if it was refused.
    fn send(&self, verdict: Verdict) -> bool {
        match self.breaker.admit(self.now.get()) {
            Ok(ticket) => {
                self.breaker.record(&ticket, verdict, None, self.now.get());
                true
            }
            Err(_) => false,
        }
    }

    fn is(&self, circuit: Circuit) -> bool {
        self.breaker.circuit(self.now.get()).0 == circuit
    }

    fn pass_time(&self, seconds: u64) {
        self.now.set(self.now.get() + Duration::from_secs(seconds));
    }
}

use Verdict::{Bad, Good};

#[test]
fn failures_in_a_row_open_it() {
    let bench = Bench::new(Thresholds { min_calls: 1000, ..THRESHOLDS });
    for _ in 0..4 {
        assert!(bench.send(Bad));
    }
    assert!(bench.send(Good));
    for _ in 0..4 {
        assert!(bench.send(Bad));
    }
    assert!(bench.is(Circuit::Closed));
    assert!(bench.send(Bad));
    assert!(bench.is(Circuit::Open) && !bench.send(Good));
    assert_eq!(bench.breaker.wait(bench.now.get()), Some(THRESHOLDS.open));
}

#[test]
fn the_failure_rate_in_the_window_opens_it() {
    let bench = Bench::new(Thresholds { failures: 1000, ..THRESHOLDS });
    for _ in 0..9 {
        assert!(bench.send(Bad) && bench.send(Good));
    }
    assert!(bench.send(Bad) && bench.is(Circuit::Closed), "19 calls are too few");
    // Failures older than the window no longer count.
    bench.pass_time(11);
    assert!(bench.send(Bad) && bench.is(Circuit::Closed));
    for _ in 0..9 {
        assert!(bench.send(Bad) && bench.send(Good));
    }
    assert!(bench.is(Circuit::Closed));
    assert!(bench.send(Good) && bench.is(Circuit::Open), "10 of 20");
}

#[test]
fn one_trial_closes_or_reopens_it() {
    let bench = Bench::new(THRESHOLDS);
    for _ in 0..5 {
        bench.send(Bad);
    }
    let opened = |bench: &Bench| bench.breaker.wait(bench.now.get()).unwrap();
    for pause in [4, 8, 10, 10] {
        assert_eq!(opened(&bench), Duration::from_secs(pause), "growing, up to a limit");
        bench.pass_time(pause);
        assert!(bench.is(Circuit::HalfOpen));
        let trial = bench.breaker.admit(bench.now.get()).unwrap_or_else(|_| panic!("no trial"));
        assert!(!bench.send(Good), "one at a time");
        assert!(bench.breaker.record(&trial, Bad, None, bench.now.get()));
    }
    bench.pass_time(10);
    // A trial abandoned by its caller has no result, and allows the next one.
    drop(bench.breaker.admit(bench.now.get()));
    assert!(bench.send(Good) && bench.is(Circuit::Closed));
    for _ in 0..5 {
        assert!(bench.send(Bad));
    }
    assert_eq!(opened(&bench), Duration::from_secs(4), "back to the first open time");
}

#[test]
fn requests_sent_before_it_opened_do_not_count_after() {
    let bench = Bench::new(THRESHOLDS);
    let old = bench.breaker.admit(bench.now.get()).unwrap_or_else(|_| panic!("refused"));
    for _ in 0..5 {
        bench.send(Bad);
    }
    assert!(!bench.breaker.record(&old, Good, None, bench.now.get()) && bench.is(Circuit::Open));
    bench.pass_time(4);
    let trial = bench.breaker.admit(bench.now.get()).unwrap_or_else(|_| panic!("no trial"));
    assert!(!bench.breaker.record(&old, Bad, None, bench.now.get()));
    assert!(bench.breaker.record(&trial, Good, None, bench.now.get()) && bench.is(Circuit::Closed));
}

#[test]
fn a_bypassing_request_is_never_refused_and_can_close_it() {
    let bench = Bench::new(THRESHOLDS);
    for _ in 0..5 {
        bench.send(Bad);
    }
    assert!(!bench.breaker.record(&bench.breaker.pass(), Bad, None, bench.now.get()));
    assert_eq!(bench.breaker.wait(bench.now.get()), Some(THRESHOLDS.open), "not reopened");
    assert!(bench.breaker.record(&bench.breaker.pass(), Good, None, bench.now.get()));
    assert!(bench.is(Circuit::Closed));
}

#[test]
fn open_times_differ_between_replicas() {
    let now = Instant::now();
    let least = Breaker::new(Some(THRESHOLDS), || 0.0, now);
    for _ in 0..5 {
        least.record(&least.pass(), Bad, None, now);
    }
    assert_eq!(least.wait(now), Some(THRESHOLDS.open.mul_f64(LEAST_JITTER)));
}

#[test]
fn without_thresholds_it_never_opens() {
    let now = Instant::now();
    let breaker = Breaker::new(None, || 1.0, now);
    for _ in 0..1000 {
        assert!(!breaker.record(&breaker.pass(), Bad, None, now));
    }
    assert!(breaker.admit(now).is_ok());
}
