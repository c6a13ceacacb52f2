//! The clock of one connection, which is read when the connection is polled.
//!
//! For its pings, hyper notes the time of every frame. They are seconds apart, and a look at the
//! clock for each frame would cost a call more than most of the layers do.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// Tells the time of the last [`tick`](Self::tick). Clones share it.
#[derive(Debug, Clone)]
pub(super) struct PollClock {
    began: Instant,
    /// Microseconds from there to the last tick.
    passed: Arc<AtomicU64>,
    timer: TokioTimer,
}

impl PollClock {
    pub(super) fn start() -> Self {
        let (began, passed) = (tokio::time::Instant::now().into_std(), Arc::default());
        Self { began, passed, timer: TokioTimer::new() }
    }

    pub(super) fn tick(&self) {
        let passed = tokio::time::Instant::now().into_std().saturating_duration_since(self.began);
        self.passed.store(u64::try_from(passed.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Timer for PollClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep_until(deadline)
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_micros(self.passed.load(Ordering::Relaxed))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        self.timer.reset(sleep, new_deadline);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_passes_with_each_tick() {
        let clock = PollClock::start();
        let (began, hypers) = (clock.now(), clock.clone());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(hypers.now(), began);
        clock.tick();
        assert_eq!(hypers.now() - began, Duration::from_secs(3));
    }
}
