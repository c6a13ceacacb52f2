//! What an upstream allows now, as the store keeps it.

use tokio::time::Instant;

use super::{LEAST, LONGEST_PAUSE, Ordering, Pace, RECOVERY, RESTART};
use crate::{
    store::Clock,
    upstream::kept::{KeptUpstream, left, milliseconds},
};

impl Pace {
    /// Waits until something has changed that the next process should know.
    pub(in super::super) async fn changed(&self) {
        self.changes.notified().await;
    }

    /// Whether a request was sent since the state was kept last.
    pub(in super::super) fn has_unkept(&self) -> bool {
        self.lock().windows.has_unkept()
    }

    /// Asks for the state to be kept.
    pub(in super::super) fn tell(&self) {
        self.changes.notify_one();
    }

    /// The state for the next process; see [`super::Windows::keep`].
    pub(in super::super) fn keep(&self, running: bool, clock: Clock) -> KeptUpstream {
        let now = Instant::now();
        let mut state = self.lock();
        state.count(self.limit, now);
        let pause = state.paused.map(|until| until.saturating_duration_since(now));
        KeptUpstream {
            windows: state.windows.keep(running, self.limit, clock, now),
            pause: milliseconds(pause.unwrap_or_default()),
            strikes: state.strikes,
            rate: Some(state.rate).filter(|rate| rate.is_finite()),
            ..KeptUpstream::default()
        }
    }

    /// Goes on where an earlier process ended.
    pub(in super::super) fn go_on(&self, kept: &KeptUpstream, clock: Clock) {
        let now = Instant::now();
        let mut state = self.lock();
        state.windows.go_on(&kept.windows, clock, now);
        let pause = left(clock, kept.at, kept.pause);
        if !pause.is_zero() {
            let until = now + pause.min(self.longest_asked.max(LONGEST_PAUSE));
            (state.paused, state.tokens, state.counted) = (Some(until), 1.0, until);
        }
        state.strikes = kept.strikes;
        // Those of before do not count.
        self.epoch.store(u64::from(kept.strikes > 0), Ordering::Relaxed);
        let (least, most) = match self.limit {
            Some(limit) => (f64::from(limit.per_second.get()) * LEAST, state.rate),
            None => (RESTART, f64::MAX),
        };
        let Some(rate) = kept.rate.filter(|rate| rate.is_finite()) else { return };
        // It has grown since as it does within a process.
        let since = clock.since(clock.from_kept(kept.at)).as_secs_f64();
        let grown = match self.limit {
            Some(limit) => rate + f64::from(limit.per_second.get()) * RECOVERY * since,
            None => rate * since.exp2(),
        };
        if grown < most {
            state.rate = grown.max(least);
            state.tokens = state.tokens.min(1.0);
        }
    }
}
