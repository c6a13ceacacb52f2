//! Limits the request rate of one backend: to the vendor's limit, lower after the upstream answers
//! 429, and to nothing while it pauses.
//!
//! A 429 pauses for as long as it asks, or for a second, and for longer each time if they do not
//! end. Those that answer requests of the same time count once. Each halves the rate, which then
//! grows by a fixed part of the limit each second. Without a limit, requests leave one by one after
//! the pause, and twice as many each second once one has got another answer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{limits::RateLimit, metrics::Shed};

/// The factor by which a 429 lowers the rate.
const DECREASE: f64 = 0.5;
/// The fraction of the limit that the rate regains each second.
const RECOVERY: f64 = 0.05;
/// The lowest rate, as a fraction of the limit.
const LEAST: f64 = 1.0 / 32.0;

/// Requests per second after a pause of a backend without a limit.
const RESTART: f64 = 4.0;
/// The rate at which such a backend counts as without a limit again.
const UNLIMITED: f64 = 1000.0;

/// The first pause after a 429 that does not say how long; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that the upstream did not ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The largest part of a pause that is added at random, so that replicas do not agree.
const JITTER: f64 = 0.25;

/// Longer than any deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The rate limiter of one backend.
pub(super) struct Pace {
    limit: Option<RateLimit>,
    random: fn() -> f64,
    /// Counts the 429s in a row that answered requests sent after the pause of the one before.
    epoch: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// Current requests per second; infinite without a limit.
    rate: f64,
    /// Requests that may be sent at once.
    tokens: f64,
    /// When the tokens were last counted; in the future during a pause.
    counted: Instant,
    paused: Option<Instant>,
    /// 429s in a row.
    strikes: u32,
}

/// Why a request is not sent, and how long to wait before it could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The upstream asked for a pause.
    Paused(Duration),
    /// The gateway's own limits.
    Shed(Shed, Duration),
}

impl Pace {
    /// `random` gives a number from 0 to 1.
    pub(super) fn new(limit: Option<RateLimit>, random: fn() -> f64, now: Instant) -> Self {
        let state = State {
            rate: limit.map_or(f64::INFINITY, |limit| f64::from(limit.per_second.get())),
            tokens: limit.map_or(0.0, |limit| f64::from(limit.burst.get())),
            counted: now,
            paused: None,
            strikes: 0,
        };
        Self { limit, random, epoch: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Takes a permit for a request that is sent now, or says when there may be one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        let mut state = self.lock();
        let at = self.next(&mut state, 1, now);
        if at > now {
            return Err(at);
        }
        if state.rate.is_finite() {
            state.tokens -= 1.0;
        }
        Ok(())
    }

    /// When the last of so many requests may be sent; now, if that is possible.
    pub(super) fn when(&self, requests: usize, now: Instant) -> Instant {
        self.next(&mut self.lock(), requests, now)
    }

    /// Why a request has to wait until then.
    pub(super) fn refusal(&self, at: Instant, now: Instant) -> Refusal {
        let wait = at.saturating_duration_since(now);
        match self.lock().paused.is_some_and(|until| now < until) {
            true => Refusal::Paused(wait),
            false => Refusal::Shed(Shed::Rate, wait),
        }
    }

    /// The epoch of a request that is sent now.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Records a 429 to a request of this epoch, and how long it asks to wait. Returns how long all
    /// requests wait now.
    pub(super) fn throttled(&self, asked: Option<Duration>, epoch: u64, now: Instant) -> Duration {
        let mut state = self.lock();
        state.count(self.limit, now);
        let before = state.paused.filter(|until| now < *until).unwrap_or(now);
        let until = if epoch == self.epoch() {
            self.epoch.fetch_add(1, Ordering::Relaxed);
            state.strikes = state.strikes.saturating_add(1);
            state.lower(self.limit);
            match asked {
                // Zero is believed once.
                Some(asked) if !asked.is_zero() || state.strikes == 1 => now + asked,
                _ => now + self.growing(state.strikes),
            }
        } else {
            // It was sent before the pause began.
            now + asked.unwrap_or_default()
        };
        let until = until.max(before);
        state.paused = Some(until);
        state.tokens = 1.0;
        state.counted = until;
        until - now
    }

    /// Records another answer to a request of this epoch.
    pub(super) fn answered(&self, epoch: u64) {
        if epoch == 0 {
            return;
        }
        let mut state = self.lock();
        if epoch == self.epoch() {
            state.strikes = 0;
        }
    }

    /// The pause after so many 429s in a row.
    fn growing(&self, strikes: u32) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << (strikes.clamp(1, 10) - 1));
        doubled.min(LONGEST_PAUSE).mul_f64(1.0 + JITTER * (self.random)()).min(LONGEST_PAUSE)
    }

    /// Whether a pause would delay a request past its deadline.
    pub(super) fn refuses(&self, now: Instant, deadline: Instant) -> Option<Refusal> {
        let until = self.lock().paused.filter(|until| now < *until)?;
        (until >= deadline).then(|| Refusal::Paused(until - now))
    }

    /// The current limit in requests per second, if there is one.
    pub(super) fn rate(&self, now: Instant) -> Option<f64> {
        let limit = self.limit?;
        let mut state = self.lock();
        state.count(Some(limit), now);
        Some(state.rate)
    }

    fn next(&self, state: &mut State, requests: usize, now: Instant) -> Instant {
        let start = state.paused.filter(|until| now < *until).unwrap_or(now);
        state.count(self.limit, now);
        if state.rate.is_infinite() {
            return start;
        }
        let requests = f64::from(u32::try_from(requests).unwrap_or(u32::MAX));
        let missing = requests - state.tokens;
        // Sums of fractions are never exact.
        if missing < 1e-6 {
            return start;
        }
        let seconds = match self.limit {
            Some(_) => missing / state.rate,
            // The integral of a rate that doubles each second, solved for the time.
            None => (1.0 + missing * std::f64::consts::LN_2 / state.rate).log2(),
        };
        start + Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn count(&mut self, limit: Option<RateLimit>, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        if passed <= 0.0 || self.rate.is_infinite() {
            return;
        }
        self.counted = now;
        match limit {
            Some(limit) => {
                let full = f64::from(limit.per_second.get());
                // A lowered rate also lowers the burst.
                let burst = (f64::from(limit.burst.get()) * self.rate / full).max(1.0);
                self.tokens = (self.tokens + self.rate * passed).min(burst);
                self.rate = (self.rate + full * RECOVERY * passed).min(full);
            }
            None => {
                let burst = (self.rate / RESTART).max(1.0);
                self.tokens = (self.tokens + self.rate * passed).min(burst);
                if self.strikes == 0 {
                    self.rate *= passed.exp2();
                }
                if self.rate > UNLIMITED {
                    self.rate = f64::INFINITY;
                }
            }
        }
    }

    /// Lowers the rate after a 429.
    fn lower(&mut self, limit: Option<RateLimit>) {
        self.rate = match limit {
            Some(limit) => (self.rate * DECREASE).max(f64::from(limit.per_second.get()) * LEAST),
            None => RESTART,
        };
    }
}

#[cfg(test)]
mod tests;
