//! Limits the request rate of one backend: to the vendor's limit, lower after the upstream answers
//! 429, and to nothing while it asks for a pause.
//!
//! Each 429 halves the rate and empties the bucket. The rate then grows by a fixed part of the
//! limit each second until it reaches the limit. Without a limit there are only pauses.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{limits::RateLimit, metrics::Shed};

/// The factor by which a 429 lowers the rate.
const DECREASE: f64 = 0.5;
/// 429s closer together than this count as one, because they answer requests of the same burst.
const ONE_SIGNAL: Duration = Duration::from_secs(1);
/// The fraction of the limit that the rate regains each second.
const RECOVERY: f64 = 0.05;
/// The lowest rate, as a fraction of the limit.
const LEAST: f64 = 1.0 / 32.0;

/// Longer than any deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The rate limiter of one backend.
pub(super) struct Pace {
    limit: Option<RateLimit>,
    state: Mutex<State>,
}

struct State {
    /// Current requests per second.
    rate: f64,
    /// Requests that may be sent at once.
    tokens: f64,
    /// When the tokens were last counted; in the future during a pause.
    counted: Instant,
    paused: Option<Instant>,
    lowered: Option<Instant>,
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
    pub(super) fn new(limit: Option<RateLimit>, now: Instant) -> Self {
        let state = State {
            rate: limit.map_or(0.0, |limit| f64::from(limit.per_second.get())),
            tokens: limit.map_or(0.0, |limit| f64::from(limit.burst.get())),
            counted: now,
            paused: None,
            lowered: None,
        };
        Self { limit, state: Mutex::new(state) }
    }

    /// Takes a permit for a request that is sent now, or says when there may be one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        let mut state = self.lock();
        let at = self.next(&mut state, 1, now);
        if at > now {
            return Err(at);
        }
        if self.limit.is_some() {
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

    /// Records that the upstream answered 429 and asks for a pause.
    pub(super) fn throttled(&self, pause: Duration, now: Instant) {
        let mut state = self.lock();
        if let Some(limit) = self.limit {
            state.count(limit, now);
            let full = f64::from(limit.per_second.get());
            let same =
                state.lowered.is_some_and(|at| now.saturating_duration_since(at) < ONE_SIGNAL);
            if !same {
                state.rate = (state.rate * DECREASE).max(full * LEAST);
                state.lowered = Some(now);
            }
        }
        let until = state.paused.map_or(now + pause, |until| until.max(now + pause));
        state.paused = Some(until);
        state.tokens = 0.0;
        state.counted = until;
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
        state.count(limit, now);
        Some(state.rate)
    }

    fn next(&self, state: &mut State, requests: usize, now: Instant) -> Instant {
        let start = state.paused.filter(|until| now < *until).unwrap_or(now);
        let Some(limit) = self.limit else { return start };
        state.count(limit, now);
        let requests = f64::from(u32::try_from(requests).unwrap_or(u32::MAX));
        let missing = requests - state.tokens;
        // Sums of fractions are never exact.
        if missing < 1e-6 {
            return start;
        }
        start + Duration::try_from_secs_f64(missing / state.rate).unwrap_or(LONGEST)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn count(&mut self, limit: RateLimit, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let full = f64::from(limit.per_second.get());
        // A lowered rate also lowers the burst.
        let burst = (f64::from(limit.burst.get()) * self.rate / full).max(1.0);
        self.tokens = (self.tokens + self.rate * passed).min(burst);
        self.rate = (self.rate + full * RECOVERY * passed).min(full);
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn pace(per_second: u32, burst: u32) -> Pace {
        let limit = RateLimit {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        };
        Pace::new(Some(limit), Instant::now())
    }

    /// Waits for a permit.
    async fn permit(pace: &Pace) {
        while let Err(at) = pace.take(Instant::now()) {
            tokio::time::sleep_until(at).await;
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
        let second = Duration::from_secs(1);
        for _ in 0..10 {
            pace.throttled(3 * second, Instant::now());
        }
        assert_eq!(pace.rate(Instant::now()), Some(50.0), "ten of one burst are one signal");
        let paused = time(&pace, 1).await;
        assert!((3000..=3030).contains(&paused), "{paused}");
        let took = time(&pace, 50).await;
        assert!((900..=1010).contains(&took), "{took}");
        tokio::time::sleep(4 * second).await;
        let rate = pace.rate(Instant::now()).unwrap();
        assert!((70.0..80.0).contains(&rate), "{rate}");
        tokio::time::sleep(60 * second).await;
        assert_eq!(pace.rate(Instant::now()), Some(100.0), "up to the limit and no further");
        for _ in 0..20 {
            pace.throttled(Duration::ZERO, Instant::now());
            tokio::time::sleep(second).await;
        }
        assert!(pace.rate(Instant::now()).unwrap() >= 100.0 * LEAST, "never to zero");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_there_is_only_the_pause() {
        let pace = Pace::new(None, Instant::now());
        assert_eq!(time(&pace, 10_000).await, 0);
        pace.throttled(Duration::from_secs(5), Instant::now());
        assert_eq!(time(&pace, 10_000).await, 5000);
        assert_eq!(pace.rate(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_when_a_permit_will_be_there_and_why_not_now() {
        let (slow, now) = (pace(1, 1), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(slow.when(3, now), now + 2 * second);
        permit(&slow).await;
        assert_eq!(slow.take(now), Err(now + second));
        assert_eq!(slow.refusal(now + second, now), Refusal::Shed(Shed::Rate, second));
        slow.throttled(7 * second, now);
        let soon = now + Duration::from_millis(500);
        assert_eq!(slow.refuses(now, soon), Some(Refusal::Paused(7 * second)));
        assert_eq!(slow.refuses(now, now + 1000 * second), None);
        assert_eq!(slow.refusal(now + 7 * second, now), Refusal::Paused(7 * second));
    }
}
