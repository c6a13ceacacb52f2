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
        self.admit().is_ok_and(|ticket| {
            self.breaker.record(&ticket, verdict, false, self.now.get());
            true
        })
    }

    /// Sends one request of a caller about something, which the upstream answers; false if it was
    /// refused.
    fn ask(&self, caller: u8, subject: u64, verdict: Verdict) -> bool {
        self.breaker.admit(asked(caller, subject), self.now.get()).is_ok_and(|ticket| {
            self.breaker.record(&ticket, verdict, true, self.now.get());
            true
        })
    }

    fn admit(&self) -> Result<Ticket<'_>, Duration> {
        self.breaker.admit(asked(1, 1), self.now.get())
    }

    fn wait(&self) -> Option<Duration> {
        self.breaker.wait(asked(1, 1), self.now.get())
    }

    fn is(&self, circuit: Circuit) -> bool {
        self.breaker.circuit(self.now.get()).0 == circuit
    }

    fn pass_time(&self, seconds: u64) {
        self.now.set(self.now.get() + Duration::from_secs(seconds));
    }
}

fn asked(caller: u8, subject: u64) -> Asked {
    Asked { caller: CallerId::network([192, 0, 2, caller].into(), 32, 64), subject }
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
    assert_eq!(bench.wait(), Some(THRESHOLDS.open));
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
    let opened = |bench: &Bench| bench.wait().unwrap();
    for pause in [4, 8, 10, 10] {
        assert_eq!(opened(&bench), Duration::from_secs(pause), "growing, up to a limit");
        bench.pass_time(pause);
        assert!(bench.is(Circuit::HalfOpen));
        let trial = bench.admit().unwrap_or_else(|_| panic!("no trial"));
        assert!(!bench.send(Good), "one at a time");
        assert!(bench.breaker.record(&trial, Bad, false, bench.now.get()));
    }
    bench.pass_time(10);
    // A trial abandoned by its caller has no result, and allows the next one.
    drop(bench.admit());
    assert!(bench.send(Good) && bench.is(Circuit::Closed));
    for _ in 0..5 {
        assert!(bench.send(Bad));
    }
    assert_eq!(opened(&bench), Duration::from_secs(4), "back to the first open time");
}

#[test]
fn requests_sent_before_it_opened_do_not_count_after() {
    let bench = Bench::new(THRESHOLDS);
    let old = bench.admit().unwrap_or_else(|_| panic!("refused"));
    for _ in 0..5 {
        bench.send(Bad);
    }
    assert!(!bench.breaker.record(&old, Good, false, bench.now.get()) && bench.is(Circuit::Open));
    bench.pass_time(4);
    let trial = bench.admit().unwrap_or_else(|_| panic!("no trial"));
    assert!(!bench.breaker.record(&old, Bad, false, bench.now.get()));
    assert!(
        bench.breaker.record(&trial, Good, false, bench.now.get()) && bench.is(Circuit::Closed)
    );
}

#[test]
fn a_bypassing_request_is_never_refused_and_can_close_it() {
    let bench = Bench::new(THRESHOLDS);
    for _ in 0..5 {
        bench.send(Bad);
    }
    assert!(!bench.breaker.record(&bench.breaker.pass(None), Bad, false, bench.now.get()));
    assert_eq!(bench.wait(), Some(THRESHOLDS.open), "not reopened");
    assert!(bench.breaker.record(&bench.breaker.pass(None), Good, false, bench.now.get()));
    assert!(bench.is(Circuit::Closed));
}

#[test]
fn open_times_differ_between_replicas() {
    let now = Instant::now();
    let least = Breaker::new(Some(THRESHOLDS), || 0.0, now);
    for _ in 0..5 {
        least.record(&least.pass(None), Bad, false, now);
    }
    assert_eq!(least.wait(asked(1, 1), now), Some(THRESHOLDS.open.mul_f64(LEAST_JITTER)));
}

#[test]
fn without_thresholds_it_never_opens() {
    let now = Instant::now();
    let breaker = Breaker::new(None, || 1.0, now);
    for _ in 0..1000 {
        assert!(!breaker.record(&breaker.pass(None), Bad, false, now));
    }
    assert!(breaker.admit(asked(1, 1), now).is_ok());
}

#[test]
fn what_always_failed_neither_reopens_it_nor_keeps_others_from_the_trial() {
    let bench = Bench::new(THRESHOLDS);
    for subject in 1..=5 {
        let _ = (bench.ask(1, 666, Bad), bench.ask(2, subject, Bad));
    }
    assert!(bench.is(Circuit::Open));
    for pause in [4, 4, 4] {
        bench.pass_time(pause);
        assert!(bench.ask(1, 666, Bad) && bench.is(Circuit::HalfOpen));
        assert!(!bench.ask(1, 666, Bad) && !bench.ask(3, 666, Bad), "others come first");
        assert!(!bench.ask(1, 667, Bad), "whatever it asks for");
    }
    assert!(bench.ask(2, 1, Good) && bench.is(Circuit::Closed));
    assert!(bench.ask(1, 666, Bad), "now it may ask again");
}

#[test]
fn trials_of_two_callers_reopen_it_or_one_if_no_one_else_asks() {
    let bench = Bench::new(Thresholds { window: Duration::from_secs(60), ..THRESHOLDS });
    for subject in 1..=5 {
        assert!(bench.ask(1, subject, Bad));
    }
    bench.pass_time(4);
    assert!(bench.ask(1, 10, Bad) && bench.is(Circuit::Open), "it is alone");
    bench.pass_time(8);
    assert!(bench.ask(2, 20, Bad) && bench.ask(1, 11, Bad) && bench.is(Circuit::Open));
    bench.pass_time(10);
    assert!(bench.ask(2, 21, Bad) && bench.is(Circuit::HalfOpen), "one of two");
    assert!(bench.ask(1, 12, Bad) && bench.is(Circuit::Open));
    // One who fails alone and has tried all that it asks for tries it again after a while.
    bench.pass_time(20);
    assert!(bench.ask(1, 12, Bad) && bench.is(Circuit::HalfOpen));
    assert!(!bench.ask(1, 12, Good));
    bench.pass_time(4);
    assert!(bench.ask(1, 12, Good) && bench.is(Circuit::Closed));
}

#[test]
fn one_caller_opens_it_only_while_no_one_else_asks() {
    let bench = Bench::new(Thresholds { min_calls: 1000, ..THRESHOLDS });
    assert!(bench.ask(2, 1, Good));
    for subject in 0..100 {
        assert!(bench.ask(1, subject, Bad));
    }
    assert!(bench.is(Circuit::Closed));
    // However many of it fail, another one that fails is enough.
    assert!(bench.ask(2, 1, Bad) && bench.ask(2, 2, Bad) && bench.is(Circuit::Open));

    let bench = Bench::new(THRESHOLDS);
    bench.ask(2, 1, Good);
    bench.pass_time(11);
    for subject in [1, 2, 3, 4, 5] {
        assert!(bench.is(Circuit::Closed) && bench.ask(1, subject, Bad));
    }
    assert!(bench.is(Circuit::Open), "no one else has asked lately");
}

#[test]
fn a_trial_of_what_failed_before_decides_nothing_even_if_no_one_else_asks() {
    let bench = Bench::new(Thresholds { window: Duration::from_secs(60), ..THRESHOLDS });
    for subject in 1..=5 {
        assert!(bench.ask(1, subject, Bad));
    }
    bench.pass_time(4);
    assert!(bench.ask(1, 5, Bad) && bench.is(Circuit::HalfOpen));
    assert!(!bench.ask(1, 5, Good), "the next trial is of something else");
    assert!(bench.ask(1, 6, Bad) && bench.is(Circuit::Open), "which fails too");
}

#[test]
fn one_who_fails_with_many_does_not_hide_that_another_one_fails() {
    let bench = Bench::new(Thresholds { min_calls: 1000, ..THRESHOLDS });
    assert!(bench.ask(2, 1, Bad));
    for subject in 10..14 {
        assert!(bench.is(Circuit::Closed) && bench.ask(1, subject, Bad));
    }
    assert!(bench.is(Circuit::Open));
}

#[test]
fn the_next_process_tries_once_and_then_waits_as_long_as_before() {
    let of_a_process = |openings| {
        let bench = Bench::new(THRESHOLDS);
        bench.breaker.go_on(openings, bench.now.get());
        bench
    };
    assert!(of_a_process(0).is(Circuit::Closed));
    let bench = of_a_process(1);
    assert!(bench.is(Circuit::HalfOpen));
    let trial = bench.admit().unwrap();
    assert!(bench.admit().is_err(), "no second one");
    drop(trial);
    assert!(bench.send(Bad) && !bench.send(Bad));
    assert_eq!(bench.wait(), Some(2 * THRESHOLDS.open));
    assert_eq!(bench.breaker.openings(), 2);
    let bench = of_a_process(2);
    assert!(bench.send(Good) && bench.is(Circuit::Closed));
    assert_eq!(bench.breaker.openings(), 0);
}
