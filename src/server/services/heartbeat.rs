//! Whether the threads that serve calls make progress.
//!
//! Probes have a thread of their own, which would also answer for a process whose other threads
//! hang. So the others leave a sign of life, and the probes look for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How many signs there should be within the limit.
const BEATS: u32 = 10;
const LONGEST: Duration = Duration::from_secs(1);

/// A sign of life; a handle.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat(Arc<State>);

#[derive(Debug)]
struct State {
    started: Instant,
    limit: Duration,
    /// Milliseconds from the start to the last beat.
    last: AtomicU64,
}

impl Heartbeat {
    /// Alive, and dead when there is no sign for so long.
    pub(crate) fn new(limit: Duration) -> Self {
        Self(Arc::new(State { started: Instant::now(), limit, last: AtomicU64::new(0) }))
    }

    /// Leaves signs, on the runtime whose life they prove.
    pub(crate) async fn beat(self) -> std::convert::Infallible {
        let pause = (self.0.limit / BEATS).min(LONGEST);
        loop {
            let now = self.0.started.elapsed().as_millis();
            self.0.last.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
            tokio::time::sleep(pause).await;
        }
    }

    /// For how long there has been no sign, if that is too long.
    pub(crate) fn missing(&self) -> Option<Duration> {
        let State { started, limit, last } = &*self.0;
        let last = Duration::from_millis(last.load(Ordering::Relaxed));
        let since = started.elapsed().saturating_sub(last);
        (since > *limit).then_some(since)
    }
}
