//! The circuit breaker of one backend. After repeated failures it sends nothing for a while, then
//! lets one trial call through at a time until one succeeds.
//!
//! The time, random numbers and the definition of a failure come from the caller.

use std::{collections::VecDeque, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::settings::Thresholds;
use crate::{caller::CallerId, telemetry::label_values};

/// Number of buckets in the sliding window.
const BUCKETS: u64 = 10;

/// Failures of so many different requests say something about the upstream; those of fewer only
/// about what they ask for. Those of one caller only say something if no one else asks.
const SEVERAL: usize = 3;

/// At most so many trials that decided nothing are remembered.
const MAX_UNDECIDED: usize = 16;

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

/// Who asks, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) caller: CallerId,
    pub(super) subject: u64,
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
    failing: Vec<(Asked, Instant)>,
    /// Trials that failed and decided nothing, each with the time until which others come first.
    undecided: Vec<(Asked, Instant)>,
    /// The two callers that asked last, the last one first.
    callers: [Option<(CallerId, Instant)>; 2],
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
    asked: Option<Asked>,
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
            undecided: Vec::new(),
            callers: [None; 2],
            origin,
        };
        Self { thresholds, jitter, state: Mutex::new(state) }
    }

    /// Permission to send a request now, or how long to wait before asking again.
    pub(super) fn admit(&self, asked: Asked, now: Instant) -> Result<Ticket<'_>, Duration> {
        let mut state = self.lock();
        if let Some(wait) = state.wait(self.thresholds.as_ref(), asked, now) {
            return Err(wait);
        }
        let trial = !matches!(state.phase, Phase::Closed);
        if let Phase::Open { .. } = state.phase {
            state.epoch += 1;
        }
        if trial {
            state.phase = Phase::HalfOpen { trying: true };
        }
        Ok(Ticket { breaker: self, epoch: state.epoch, trial, asked: Some(asked) })
    }

    /// Permission to send a request in any state; its outcome counts.
    pub(super) fn pass(&self, asked: Option<Asked>) -> Ticket<'_> {
        Ticket { breaker: self, epoch: self.lock().epoch, trial: false, asked }
    }

    /// How long such requests will be refused, if they are.
    pub(super) fn wait(&self, asked: Asked, now: Instant) -> Option<Duration> {
        self.lock().wait(self.thresholds.as_ref(), asked, now)
    }

    /// Counts the outcome of a request. Where no answer came, that is not for what was asked for.
    /// True if it opened or closed the circuit.
    pub(super) fn record(
        &self,
        ticket: &Ticket<'_>,
        verdict: Verdict,
        answered: bool,
        now: Instant,
    ) -> bool {
        let Some(thresholds) = self.thresholds else { return false };
        let asked = ticket.asked.filter(|_| answered);
        let mut state = self.lock();
        if ticket.epoch != state.epoch {
            return false;
        }
        match (state.phase, verdict) {
            (Phase::Closed, _) => {
                if !state.says_something(&thresholds, verdict, asked, now) {
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
                if !state.still_fails(&thresholds, asked, now) {
                    return false;
                }
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

    /// How many times it has opened since it was last closed, for the next process.
    pub(super) fn openings(&self) -> u32 {
        self.lock().openings
    }

    /// Goes on where an earlier process ended. A circuit that was not closed is half open: one
    /// request tries at once, and if that fails, it is open for as long as it would have been.
    pub(super) fn go_on(&self, openings: u32, now: Instant) {
        if openings > 0 && self.thresholds.is_some() {
            let mut state = self.lock();
            (state.openings, state.phase) = (openings, Phase::Open { until: now });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn wait(
        &mut self,
        thresholds: Option<&Thresholds>,
        asked: Asked,
        now: Instant,
    ) -> Option<Duration> {
        let thresholds = thresholds?;
        let [last, before] = &mut self.callers;
        if last.is_some_and(|(other, _)| other != asked.caller) {
            *before = *last;
        }
        *last = Some((asked.caller, now));
        match self.phase {
            Phase::Closed => None,
            Phase::Open { until } if now < until => Some(until - now),
            // The duration of the trial is unknown.
            Phase::HalfOpen { trying: true } => Some(Duration::from_secs(1)),
            Phase::Open { .. } | Phase::HalfOpen { .. } => {
                let alone = self.is_alone(thresholds, asked.caller, now);
                let tried = self.undecided.iter().filter(|(other, _)| {
                    other.subject == asked.subject || (!alone && other.caller == asked.caller)
                });
                let until = tried.map(|(_, until)| *until).max()?;
                (now < until).then(|| until - now)
            }
        }
    }

    /// Whether no one else has asked lately.
    fn is_alone(&self, thresholds: &Thresholds, caller: CallerId, now: Instant) -> bool {
        let mut recent = self.callers.iter().flatten();
        recent.all(|(other, at)| *other == caller || is_past(thresholds, *at, now))
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
        asked: Option<Asked>,
        now: Instant,
    ) -> bool {
        let Some(asked) = asked else { return true };
        let answered = |other: &Asked| other.subject == asked.subject && verdict == Verdict::Good;
        self.failing.retain(|(other, at)| !answered(other) && !is_past(thresholds, *at, now));
        verdict == Verdict::Good
            || self.is_one_of_the_first(asked, now)
            || self.have_several_failed(thresholds, now)
    }

    /// Notes a failure; whether it is the first one of its subject, and of no more than several.
    fn is_one_of_the_first(&mut self, asked: Asked, now: Instant) -> bool {
        let known = self.failing.iter().position(|(other, _)| other.subject == asked.subject);
        let is_first = known.is_none() && self.failing.len() < SEVERAL;
        if !is_first {
            // Someone who fails with many of them does not hide that others fail too.
            let own = self.failing.iter().position(|(other, _)| other.caller == asked.caller);
            let replaced = known.or(own).unwrap_or_default();
            self.failing.remove(replaced);
        }
        self.failing.push((asked, now));
        is_first
    }

    fn have_several_failed(&self, thresholds: &Thresholds, now: Instant) -> bool {
        let Some(((first, _), others)) = self.failing.split_first() else { return false };
        let for_several = others.iter().any(|(other, _)| other.caller != first.caller);
        let for_all = for_several || self.is_alone(thresholds, first.caller, now);
        self.failing.len() >= SEVERAL && for_all
    }

    /// Whether a trial that failed says that the upstream still fails. What has failed before does
    /// not, and what one caller asks for only if no one else asks, or the trial of another one has
    /// failed as well. Otherwise it leaves the next trials to others for a while.
    fn still_fails(&mut self, thresholds: &Thresholds, asked: Option<Asked>, now: Instant) -> bool {
        let Some(asked) = asked else { return true };
        self.undecided.retain(|(other, until)| other.subject != asked.subject && now < *until);
        let is_known = self.failing.iter().any(|(other, _)| other.subject == asked.subject);
        let of_another = self.undecided.iter().any(|(other, _)| other.caller != asked.caller);
        let alone = self.is_alone(thresholds, asked.caller, now);
        self.is_one_of_the_first(asked, now);
        let decides = !is_known && (alone || of_another);
        if !decides {
            if self.undecided.len() == MAX_UNDECIDED {
                self.undecided.remove(0);
            }
            self.undecided.push((asked, now + thresholds.open));
        }
        decides
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
        self.undecided.clear();
        self.epoch += 1;
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.epoch += 1;
        (self.openings, self.consecutive) = (0, 0);
        self.window.clear();
        self.failing.clear();
        self.undecided.clear();
    }
}

/// Whether something was before the window that ends now.
fn is_past(thresholds: &Thresholds, at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) >= thresholds.window
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
