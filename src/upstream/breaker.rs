//! The circuit breaker of one backend. After repeated failures it sends nothing for a while, then
//! lets one trial call through at a time until one succeeds.
//!
//! The time, random numbers and the definition of a failure come from the caller.

use std::{collections::VecDeque, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::settings::Thresholds;
use crate::telemetry::label_values;

/// Number of buckets in the sliding window.
const BUCKETS: u64 = 10;

/// Failures of so many different requests say something about the upstream; those of fewer only
/// about what they ask for.
const SEVERAL: usize = 3;

/// The smallest fraction of an open time after jitter. Jitter keeps replicas from probing in
/// lockstep.
const LEAST_JITTER: f64 = 0.8;

label_values! {
    /// Whether requests are let through.
    pub enum Circuit {
        /// All are.
        Closed = "closed",
        /// One trial request is.
        HalfOpen = "half_open",
        /// None are.
        Open = "open",
    }
}

/// What a request says about the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works.
    Good,
    /// It did not answer, or reported an internal error.
    Bad,
}

/// Counts failures, and opens and closes the circuit. Without thresholds it lets everything
/// through.
pub(super) struct Breaker {
    thresholds: Option<Thresholds>,
    /// Returns a random number from 0 to 1.
    jitter: fn() -> f64,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// Incremented with each change of phase, so that answers to earlier requests do not count.
    epoch: u64,
    consecutive: u32,
    /// How many times it has opened since it was last closed.
    openings: u32,
    window: VecDeque<Bucket>,
    /// What the upstream has failed to answer lately, each with its last failure. At most
    /// [`SEVERAL`].
    failing: Vec<(u64, Instant)>,
    origin: Instant,
}

#[derive(Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { trying: bool },
}

struct Bucket {
    number: u64,
    all: u32,
    bad: u32,
}

/// The right to send one request. Dropping it gives it back, so that a trial whose caller has left
/// makes room for the next one.
pub(super) struct Ticket<'b> {
    breaker: &'b Breaker,
    epoch: u64,
    trial: bool,
}

impl Breaker {
    pub(super) fn new(
        thresholds: Option<Thresholds>,
        jitter: fn() -> f64,
        origin: Instant,
    ) -> Self {
        let state = State {
            phase: Phase::Closed,
            epoch: 0,
            consecutive: 0,
            openings: 0,
            window: VecDeque::new(),
            failing: Vec::new(),
            origin,
        };
        Self { thresholds, jitter, state: Mutex::new(state) }
    }

    /// Permission to send a request now, or how long to wait before asking again.
    pub(super) fn admit(&self, now: Instant) -> Result<Ticket<'_>, Duration> {
        let mut state = self.lock();
        if let Some(wait) = state.wait(now) {
            return Err(wait);
        }
        let trial = !matches!(state.phase, Phase::Closed);
        if let Phase::Open { .. } = state.phase {
            state.epoch += 1;
        }
        if trial {
            state.phase = Phase::HalfOpen { trying: true };
        }
        Ok(Ticket { breaker: self, epoch: state.epoch, trial })
    }

    /// Permission to send a request in any state; its outcome counts.
    pub(super) fn pass(&self) -> Ticket<'_> {
        Ticket { breaker: self, epoch: self.lock().epoch, trial: false }
    }

    /// How long requests will be refused, if they are.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.lock().wait(now)
    }

    /// Counts the outcome of a request. `subject` is what it asked for, if the upstream answered.
    /// True if it opened or closed the circuit.
    pub(super) fn record(
        &self,
        ticket: &Ticket<'_>,
        verdict: Verdict,
        subject: Option<u64>,
        now: Instant,
    ) -> bool {
        let Some(thresholds) = self.thresholds else { return false };
        let mut state = self.lock();
        if ticket.epoch != state.epoch {
            return false;
        }
        match (state.phase, verdict) {
            (Phase::Closed, _) => {
                if !state.says_something(&thresholds, verdict, subject, now) {
                    return false;
                }
                state.count(&thresholds, verdict, now);
                let opens = state.is_over(&thresholds);
                if opens {
                    state.open(&thresholds, (self.jitter)(), now);
                }
                opens
            }
            // A request that bypassed an open circuit counts as much as a trial.
            (_, Verdict::Good) => {
                state.close();
                true
            }
            (Phase::HalfOpen { .. }, Verdict::Bad) => {
                state.open(&thresholds, (self.jitter)(), now);
                true
            }
            (Phase::Open { .. }, Verdict::Bad) => false,
        }
    }

    /// The state, and when an open circuit allows a trial.
    pub(super) fn circuit(&self, now: Instant) -> (Circuit, Option<Instant>) {
        match self.lock().phase {
            Phase::Closed => (Circuit::Closed, None),
            Phase::Open { until } if now < until => (Circuit::Open, Some(until)),
            Phase::Open { .. } | Phase::HalfOpen { .. } => (Circuit::HalfOpen, None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn wait(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Open { until } if now < until => Some(until - now),
            // The duration of the trial is unknown.
            Phase::HalfOpen { trying: true } => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    fn count(&mut self, thresholds: &Thresholds, verdict: Verdict, now: Instant) {
        let bad = u32::from(verdict == Verdict::Bad);
        self.consecutive = if bad == 0 { 0 } else { self.consecutive.saturating_add(1) };
        let bucket = (thresholds.window.as_nanos() / u128::from(BUCKETS)).max(1);
        let passed = now.saturating_duration_since(self.origin).as_nanos();
        let number = u64::try_from(passed / bucket).unwrap_or(u64::MAX);
        while self
            .window
            .front()
            .is_some_and(|oldest| oldest.number.saturating_add(BUCKETS) <= number)
        {
            self.window.pop_front();
        }
        match self.window.back_mut() {
            Some(last) if last.number == number => {
                last.all = last.all.saturating_add(1);
                last.bad = last.bad.saturating_add(bad);
            }
            _ => self.window.push_back(Bucket { number, all: 1, bad }),
        }
    }

    /// Whether an outcome says something about the upstream. One id that always fails does not: its
    /// first failure counts, and further ones do when several have failed.
    fn says_something(
        &mut self,
        thresholds: &Thresholds,
        verdict: Verdict,
        subject: Option<u64>,
        now: Instant,
    ) -> bool {
        let Some(subject) = subject else { return true };
        let recently = |at: Instant| now.saturating_duration_since(at) < thresholds.window;
        let answered = |other: u64| other == subject && verdict == Verdict::Good;
        self.failing.retain(|(other, at)| !answered(*other) && recently(*at));
        if verdict == Verdict::Good {
            return true;
        }
        if let Some((_, at)) = self.failing.iter_mut().find(|(other, _)| *other == subject) {
            *at = now;
            return self.failing.len() >= SEVERAL;
        }
        if self.failing.len() < SEVERAL {
            self.failing.push((subject, now));
        }
        true
    }

    fn is_over(&self, thresholds: &Thresholds) -> bool {
        let sum =
            |of: fn(&Bucket) -> u32| self.window.iter().map(|bucket| u64::from(of(bucket))).sum();
        let (all, bad): (u64, u64) = (sum(|bucket| bucket.all), sum(|bucket| bucket.bad));
        let rate = all >= u64::from(thresholds.min_calls)
            && bad * 100 >= all * u64::from(thresholds.percent);
        self.consecutive >= thresholds.failures || rate
    }

    fn open(&mut self, thresholds: &Thresholds, jitter: f64, now: Instant) {
        let factor = 2_u32.saturating_pow(self.openings);
        let longest = thresholds.open.saturating_mul(factor).min(thresholds.max_open);
        let jitter = LEAST_JITTER + (1.0 - LEAST_JITTER) * jitter.clamp(0.0, 1.0);
        self.phase = Phase::Open { until: now + longest.mul_f64(jitter) };
        self.openings = self.openings.saturating_add(1);
        self.epoch += 1;
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.epoch += 1;
        (self.openings, self.consecutive) = (0, 0);
        self.window.clear();
        self.failing.clear();
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.trial {
            return;
        }
        let mut state = self.breaker.lock();
        if state.epoch == self.epoch {
            state.phase = Phase::HalfOpen { trying: false };
        }
    }
}

#[cfg(test)]
mod tests;
