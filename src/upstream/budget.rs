//! How many requests may go again: a share of those that succeed, and a few besides.
//!
//! When everything fails nothing is earned, so that retries never make the trouble of an upstream
//! worse.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// In hundredths of a retry, so that no fraction is lost.
const RETRY: u32 = 100;
/// What a request that succeeds earns: a tenth of a retry.
const EARNED: u32 = 10;
/// What is there at the beginning, and comes back by itself.
const FLOOR: u32 = 5 * RETRY;
/// The most that can be saved up: a burst of failures after a long calm.
const MOST: u32 = 100 * RETRY;
/// How long one retry of the floor takes to come back, so that a backend with few calls gets some
/// again.
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

    /// A request succeeded.
    pub(super) fn earn(&self) {
        let mut state = self.0.lock();
        state.left = (state.left + EARNED).min(MOST);
    }

    /// Takes one retry, if there is one.
    pub(super) fn spend(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        let minutes = now.saturating_duration_since(state.refilled).as_secs() / REFILL.as_secs();
        if minutes > 0 {
            let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
            state.refilled = now;
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
    fn when_all_fails_only_the_floor_goes_again() {
        let now = Instant::now();
        assert_eq!(spent(&Budget::new(now), now, 1000), 5);
    }

    #[test]
    fn a_tenth_of_the_successes_may_go_again_up_to_a_limit() {
        let now = Instant::now();
        let budget = Budget::new(now);
        assert_eq!(spent(&budget, now, 1000), 5);
        (0..200).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, now, 1000), 20);
        (0..1_000_000).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, now, 1000), 100);
    }

    #[test]
    fn the_floor_comes_back_with_time_and_no_more() {
        let now = Instant::now();
        let budget = Budget::new(now);
        assert_eq!(spent(&budget, now, 10), 5);
        assert_eq!(spent(&budget, now + REFILL, 10), 1);
        assert_eq!(spent(&budget, now + 1000 * REFILL, 10), 5);
    }
}
