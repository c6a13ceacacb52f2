//! The retry budget: retries may be a fraction of the successful requests, plus a small floor.
//!
//! When everything fails no retries are earned, so that retries never make an outage worse.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The cost of a retry, in hundredths to avoid fractions.
const RETRY: u32 = 100;
/// What a successful request earns: a tenth of a retry.
const EARNED: u32 = 10;
/// The initial budget, which refills over time.
const FLOOR: u32 = 5 * RETRY;
/// The most that can be saved up.
const MOST: u32 = 100 * RETRY;
/// How long it takes to refill one retry of the floor, so that a backend with few calls can retry
/// too.
const REFILL: Duration = Duration::from_secs(60);

/// The retry budget of one backend.
pub(super) struct Budget(Mutex<State>);

struct State {
    left: u32,
    refilled: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State { left: FLOOR, refilled: now }))
    }

    /// Records a successful request.
    pub(super) fn earn(&self) {
        let mut state = self.0.lock();
        state.left = (state.left + EARNED).min(MOST);
    }

    /// Takes one retry, if one is left.
    pub(super) fn spend(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        let minutes = now.saturating_duration_since(state.refilled).as_secs() / REFILL.as_secs();
        if minutes > 0 {
            let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
            // The minute that has begun counts toward the next refill.
            state.refilled += REFILL.saturating_mul(minutes);
            let refilled = state.left.saturating_add(minutes.saturating_mul(RETRY)).min(FLOOR);
            state.left = state.left.max(refilled);
        }
        match state.left.checked_sub(RETRY) {
            Some(left) => {
                state.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &Budget, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| budget.spend(now)).count()
    }

    #[test]
    fn when_everything_fails_only_the_floor_is_retried() {
        let now = Instant::now();
        assert_eq!(spent(&Budget::new(now), now, 1000), 5);
    }

    #[test]
    fn successes_earn_a_tenth_of_a_retry_up_to_a_limit() {
        let now = Instant::now();
        let budget = Budget::new(now);
        assert_eq!(spent(&budget, now, 1000), 5);
        (0..200).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, now, 1000), 20);
        (0..1_000_000).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, now, 1000), 100);
    }

    #[test]
    fn only_the_floor_refills_over_time() {
        let now = Instant::now();
        let budget = Budget::new(now);
        assert_eq!(spent(&budget, now, 10), 5);
        assert_eq!(spent(&budget, now + REFILL, 10), 1);
        assert_eq!(spent(&budget, now + 1000 * REFILL, 10), 5);
    }

    // Regression: the rest of a minute was dropped, so that tries at the wrong times earned less.
    #[test]
    fn the_refill_does_not_depend_on_when_it_is_asked_for() {
        let now = Instant::now();
        let budget = Budget::new(now);
        assert_eq!(spent(&budget, now, 10), 5);
        let tries = (1..=10).map(|n| spent(&budget, now + Duration::from_secs(119 * n), 10));
        assert_eq!(tries.sum::<usize>(), 19, "one for each of the 19 whole minutes");
    }
}
