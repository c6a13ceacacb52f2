//! How many lines of the log one caller may cause.
//!
//! A flood of calls would otherwise be a flood of lines, in which those of others are not found, or
//! left out. What is left out is counted, and told from time to time.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use prometheus_client::metrics::counter::Counter;

use super::bucket::{Bucket, SECOND};

/// The lines of one caller, of whose rate a second may be used at once.
#[derive(Debug)]
pub(super) struct Lines {
    /// How long a line takes of the rate; `None` without a rate.
    cost: Option<u64>,
    used: Bucket,
    left_out: AtomicU64,
    /// What is left out is told once a second.
    told: Bucket,
    counted: Counter,
}

impl Lines {
    /// `left_out` counts those of all callers that were left out.
    pub(super) fn new(per_second: Option<u32>, left_out: Counter) -> Self {
        Self {
            cost: per_second.map(|rate| SECOND / u64::from(rate.max(1))),
            used: Bucket::default(),
            left_out: AtomicU64::new(0),
            told: Bucket::default(),
            counted: left_out,
        }
    }

    /// Whether there may be one more line.
    pub(super) fn take(&self, caller: impl fmt::Display) -> bool {
        let Some(cost) = self.cost else { return true };
        let (relaxed, left_out) = (Ordering::Relaxed, &self.left_out);
        if self.used.take(cost, SECOND - cost).is_err() {
            left_out.fetch_add(1, relaxed);
            self.counted.inc();
            return false;
        }
        if left_out.load(relaxed) > 0 && self.told.take(SECOND, 0).is_ok() {
            let lines = left_out.swap(0, relaxed);
            tracing::info!(
                target: "log", %caller, lines,
                "lines about the calls of a caller were left out, because there are too many"
            );
        }
        true
    }
}

/// One line a second, of lines that tell how many were left out before them.
#[derive(Debug)]
pub(super) struct Samples {
    used: Bucket,
    left_out: AtomicU64,
    counted: Counter,
}

impl Samples {
    /// `left_out` counts those of all callers that were left out.
    pub(super) fn new(left_out: Counter) -> Self {
        Self { used: Bucket::default(), left_out: AtomicU64::new(0), counted: left_out }
    }

    /// Whether there may be one more line; if so, how many were left out since the one before.
    pub(super) fn take(&self) -> Option<u64> {
        if self.used.take(SECOND, 0).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            self.counted.inc();
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }

    /// The line that was to tell of so many has no room either.
    pub(super) fn give_back(&self, left_out: u64) {
        self.left_out.fetch_add(left_out + 1, Ordering::Relaxed);
        self.counted.inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_its_rate_and_a_second_of_it_at_once() {
        // The clock of the process may have begun on another one.
        advance(Duration::from_secs(3600)).await;
        let lines = Lines::new(Some(100), Counter::default());
        let taken = |tries: usize| (0..tries).filter(|_| lines.take("me")).count();
        assert_eq!(taken(1000), 100);
        advance(Duration::from_millis(500)).await;
        assert_eq!(taken(1000), 50);
        assert_eq!(lines.left_out.load(Ordering::Relaxed), 950, "900 were told");
        advance(Duration::from_secs(10)).await;
        assert_eq!(taken(1000), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sample_tells_how_many_were_left_out_before_it() {
        advance(Duration::from_secs(3600)).await;
        let counted = Counter::default();
        let samples = Samples::new(counted.clone());
        assert_eq!(samples.take(), Some(0));
        assert!((0..7).all(|_| samples.take().is_none()));
        advance(Duration::from_secs(1)).await;
        assert_eq!(samples.take(), Some(7));
        assert_eq!(counted.get(), 7);
        samples.give_back(7);
        advance(Duration::from_secs(60)).await;
        assert_eq!((samples.take(), samples.take()), (Some(8), None));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_there_is_no_bound() {
        let lines = Lines::new(None, Counter::default());
        assert!((0..10_000).all(|_| lines.take("me")));
    }
}
