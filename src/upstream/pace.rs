//! Limits the request rate of one backend: to the vendor's limit, lower after the upstream answers
//! 429, and to nothing while it asks for a pause.
//!
//! Each 429 halves the rate and empties the bucket. The rate then grows by a fixed part of the
//! limit each second until it reaches the limit. Without a limit there are only pauses.

use std::{num::NonZeroU32, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// A vendor's limit: a steady rate, and a burst.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Requests per second.
    pub per_second: NonZeroU32,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}

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
    /// Requests that may be sent at once; if negative, the number that wait.
    tokens: f64,
    /// When the tokens were last counted; in the future during a pause.
    counted: Instant,
    paused: Option<Instant>,
    lowered: Option<Instant>,
    /// Incremented by each 429, which voids the permits given out before.
    epoch: u64,
}

/// Why a request cannot be sent before its deadline, and when it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The upstream asked for a pause.
    Paused(Duration),
    /// Too many are waiting.
    Late(Duration),
}

impl Pace {
    pub(super) fn new(limit: Option<RateLimit>, now: Instant) -> Self {
        let state = State {
            rate: limit.map_or(0.0, |limit| f64::from(limit.per_second.get())),
            tokens: limit.map_or(0.0, |limit| f64::from(limit.burst.get())),
            counted: now,
            paused: None,
            lowered: None,
            epoch: 0,
        };
        Self { limit, state: Mutex::new(state) }
    }

    /// Waits for a permit, or fails at once if it would come too late.
    pub(super) async fn permit(&self, deadline: Instant) -> Result<(), Refusal> {
        loop {
            let (at, epoch) = self.reserve(Instant::now(), deadline)?;
            if at <= Instant::now() {
                return Ok(());
            }
            tokio::time::sleep_until(at).await;
            if self.lock().epoch == epoch {
                return Ok(());
            }
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
        state.epoch += 1;
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

    fn reserve(&self, now: Instant, deadline: Instant) -> Result<(Instant, u64), Refusal> {
        let mut state = self.lock();
        let paused = state.paused.filter(|until| now < *until);
        let mut at = paused.unwrap_or(now);
        if let Some(limit) = self.limit {
            state.count(limit, now);
            let debt = (1.0 - state.tokens).max(0.0);
            at += Duration::try_from_secs_f64(debt / state.rate).unwrap_or(LONGEST);
        }
        if at > now && at >= deadline {
            let wait = at.saturating_duration_since(now);
            return Err(if paused.is_some() { Refusal::Paused(wait) } else { Refusal::Late(wait) });
        }
        if self.limit.is_some() {
            state.tokens -= 1.0;
        }
        Ok((at, state.epoch))
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
    use super::*;

    fn pace(per_second: u32, burst: u32) -> Pace {
        let limit = RateLimit {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        };
        Pace::new(Some(limit), Instant::now())
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(1000)
    }

    /// How long this many permits take one after another, in milliseconds.
    async fn time(pace: &Pace, permits: usize) -> u128 {
        let started = Instant::now();
        for _ in 0..permits {
            pace.permit(far()).await.unwrap();
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
    async fn a_429_voids_permits_given_out_before() {
        let pace = std::sync::Arc::new(pace(10, 1));
        pace.permit(far()).await.unwrap();
        let waiting = tokio::spawn({
            let pace = pace.clone();
            async move { pace.permit(far()).await.map(|()| Instant::now()) }
        });
        tokio::task::yield_now().await;
        let before = Instant::now();
        pace.throttled(Duration::from_secs(9), before);
        let left = waiting.await.unwrap().unwrap();
        assert!(left >= before + Duration::from_secs(9));
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
    async fn a_permit_after_the_deadline_is_refused_at_once() {
        let slow = pace(1, 1);
        slow.permit(far()).await.unwrap();
        let soon = Instant::now() + Duration::from_millis(500);
        assert!(matches!(slow.permit(soon).await, Err(Refusal::Late(_))));
        slow.throttled(Duration::from_secs(7), Instant::now());
        let paused = Refusal::Paused(Duration::from_secs(7));
        assert_eq!(slow.refuses(Instant::now(), soon), Some(paused));
        assert_eq!(slow.refuses(Instant::now(), far()), None);
        assert!(matches!(slow.permit(soon).await, Err(Refusal::Paused(_))));
    }
}
