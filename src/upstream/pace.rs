//! Limits the requests to one backend: to the vendor's rate, lower after the upstream answers 429,
//! to what its windows leave for each class, and to nothing during a pause.
//!
//! A 429 pauses for as long as it asks, or for a second, and for longer each time if they do not
//! end. Those that answer requests of the same time count once. Each halves the rate, which then
//! grows by a fixed part of the limit each second. Without a limit, requests leave one by one after
//! the pause, and twice as many each second once one has got another answer.
//!
//! Where replicas share an account, the server has the last word of each request (`shared`), and
//! what passes here is asked for there.

mod kept;
mod shared;
mod sharing;
mod turn;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use self::turn::WaitsFor;
pub(super) use self::turn::{Refusal, Turn};
use super::{
    class::Class,
    limits::{Limits, RateLimit, WindowLimit},
    metrics::WindowName,
    window::{Left, Usage, Windows},
};

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
    /// The longest pause that the upstream can ask for.
    longest_asked: Duration,
    random: fn() -> f64,
    /// Counts the 429s in a row that answered requests sent after the pause of the one before.
    epoch: AtomicU64,
    /// Wakes those who wait when a pause begins or grows.
    pauses: Notify,
    /// Wakes what keeps the state for the next process.
    changes: Notify,
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
    windows: Windows,
    /// What is to be agreed on with other replicas.
    sharing: sharing::Sharing,
}

impl Pace {
    /// `longest_asked` is the longest pause that the upstream can ask for, and `random` gives a
    /// number from 0 to 1.
    pub(super) fn new(
        limits: &Limits,
        longest_asked: Duration,
        random: fn() -> f64,
        now: Instant,
    ) -> Self {
        let limit = limits.rate;
        let state = State {
            rate: limit.map_or(f64::INFINITY, |limit| f64::from(limit.per_second.get())),
            tokens: limit.map_or(0.0, |limit| f64::from(limit.burst.get())),
            counted: now,
            paused: None,
            strikes: 0,
            windows: Windows::new(limits, now),
            sharing: sharing::Sharing::default(),
        };
        Self {
            limit,
            longest_asked,
            random,
            epoch: AtomicU64::new(0),
            pauses: Notify::new(),
            changes: Notify::new(),
            state: Mutex::new(state),
        }
    }

    /// Takes a permit for a request that is sent now, or says when there may be one.
    pub(super) fn take(&self, class: Class, now: Instant) -> Result<(), Turn> {
        let mut state = self.lock();
        let turn = self.next(&mut state, class, 1, now);
        if turn.at > now {
            return Err(turn);
        }
        if state.rate.is_finite() {
            state.tokens -= 1.0;
        }
        state.sharing.count();
        if state.windows.count() {
            self.changes.notify_one();
        }
        Ok(())
    }

    /// Takes a permit for a login. It does not wait for the rate, which is for other requests.
    pub(super) fn take_login(&self, now: Instant) -> Result<(), Refusal> {
        let taken = self.lock().windows.count_login(now);
        taken.map_err(|(at, name)| Refusal::Window(name, at.saturating_duration_since(now)))
    }

    /// When the last of so many requests of a class may be sent; now, if that is possible.
    pub(super) fn when(&self, class: Class, requests: usize, now: Instant) -> Turn {
        self.next(&mut self.lock(), class, requests, now)
    }

    /// The epoch of a request that is sent now.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Records a 429 to a request of this epoch, and how long it asks to wait. Returns how long all
    /// requests wait now.
    pub(super) fn throttled(&self, asked: Option<Duration>, epoch: u64, now: Instant) -> Duration {
        let asked = asked.map(|asked| asked.min(self.longest_asked));
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
        drop(state);
        self.changes.notify_one();
        if until > before {
            self.pauses.notify_waiters();
        }
        until - now
    }

    /// How long the pause still is; zero without one.
    pub(super) fn pause_left(&self, now: Instant) -> Duration {
        self.lock().paused.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Ends the pause, and returns whether there was one. What waited leaves at the rate of before;
    /// a further 429 is one in a row.
    pub(super) fn end_pause(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state.paused.take_if(|until| now < *until).is_none() {
            return false;
        }
        state.counted = now;
        drop(state);
        self.pauses.notify_waiters();
        true
    }

    /// Waits for a pause that begins, grows, or is ended after this was called.
    pub(super) fn next_pause(&self) -> Notified<'_> {
        self.pauses.notified()
    }

    /// Records another answer to a request of this epoch.
    pub(super) fn answered(&self, epoch: u64) {
        if epoch == 0 {
            return;
        }
        let mut state = self.lock();
        if epoch == self.epoch() && std::mem::take(&mut state.strikes) > 0 {
            self.changes.notify_one();
        }
    }

    /// The pause after so many 429s in a row.
    fn growing(&self, strikes: u32) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << (strikes.clamp(1, 10) - 1));
        doubled.min(LONGEST_PAUSE).mul_f64(1.0 + JITTER * (self.random)()).min(LONGEST_PAUSE)
    }

    /// The current limit in requests per second, if there is one.
    pub(super) fn rate(&self, now: Instant) -> Option<f64> {
        let limit = self.limit?;
        let mut state = self.lock();
        state.count(Some(limit), now);
        Some(state.rate)
    }

    /// What is used of each window.
    pub(super) fn usage(&self, now: Instant) -> Vec<Usage> {
        self.lock().windows.usage(now)
    }

    /// The requests per second that a class can go on with, if a window limits them.
    pub(super) fn sustainable(&self, class: Class) -> Option<f64> {
        self.lock().windows.sustainable(class)
    }

    /// How many requests of a class each window has room for now.
    pub(super) fn left(&self, class: Class, now: Instant) -> Left {
        self.lock().windows.left(class, now)
    }

    /// How many requests of a class the windows have room for now, if they limit them.
    pub(super) fn room(&self, class: Class, now: Instant) -> Option<u32> {
        self.lock().windows.room(class, now)
    }

    /// The limit of a window, and how much of it a class may use.
    pub(super) fn part(&self, class: Class, name: WindowName) -> Option<(WindowLimit, u32)> {
        self.lock().windows.part(class, name)
    }

    /// How long it takes until the windows have room for so many requests of a class.
    pub(super) fn room_in(&self, class: Class, requests: u32, now: Instant) -> Duration {
        self.lock().windows.room_in(class, requests, now)
    }

    fn next(&self, state: &mut State, class: Class, requests: usize, now: Instant) -> Turn {
        let paused = state.paused.filter(|until| now < *until);
        let start = paused.max(state.sharing.held(now)).unwrap_or(now);
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        let at = start + self.wait_for_rate(state, class, requests, now);
        let waits_for = if paused.is_some() { WaitsFor::Pause } else { WaitsFor::Rate };
        match state.windows.next(class, requests, now) {
            Some((free, name)) if free > at => Turn { at: free, waits_for: WaitsFor::Window(name) },
            _ => Turn { at, waits_for },
        }
    }

    fn wait_for_rate(
        &self,
        state: &mut State,
        class: Class,
        requests: u32,
        now: Instant,
    ) -> Duration {
        state.count(self.limit, now);
        if state.rate.is_infinite() {
            return Duration::ZERO;
        }
        let left = self.limit.map_or(0, |limit| class.leaves(state.burst_of(limit)));
        let missing = f64::from(requests.saturating_add(left)) - state.tokens;
        // Sums of fractions are never exact.
        if missing < 1e-6 {
            return Duration::ZERO;
        }
        let seconds = match self.limit {
            Some(_) => missing / state.own_rate(),
            // The integral of a rate that doubles each second, solved for the time.
            None => (1.0 + missing * std::f64::consts::LN_2 / state.rate).log2(),
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST)
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
                let burst = f64::from(self.burst_of(limit));
                self.tokens = (self.tokens + self.own_rate() * passed).min(burst);
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

    /// A lowered rate also lowers the burst.
    fn burst_of(&self, limit: RateLimit) -> u32 {
        let (burst, full) = (limit.burst.get(), limit.per_second.get());
        let lowered = f64::from(burst) * self.own_rate() / f64::from(full);
        // A float becomes the nearest integer there is.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let lowered = lowered as u32;
        lowered.clamp(1, burst)
    }

    /// Lowers the rate after a 429.
    fn lower(&mut self, limit: Option<RateLimit>) {
        self.rate = match limit {
            Some(limit) => (self.rate * DECREASE).max(f64::from(limit.per_second.get()) * LEAST),
            None => RESTART / self.sharing.members(),
        };
    }
}

#[cfg(test)]
mod tests;
