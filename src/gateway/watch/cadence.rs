//! How often a backend is polled: at the configured interval, or more rarely if the vendor's limits
//! leave no room for that.

use std::time::Duration;

use crate::error::{Error, Retry};

/// The longest interval: a vendor's window may be as long as a year.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The interval of polls, and whether it is the configured one.
#[derive(Debug)]
pub(super) struct Cadence {
    configured: Duration,
    /// Requests of a poll.
    cost: u32,
    is_slow: bool,
}

/// A poll that is over.
#[derive(Debug)]
pub(super) struct Polled {
    /// Requests that it took; none if it shared a load of another reader.
    pub(super) requests: u32,
    /// When the next one may come, if this one failed.
    pub(super) retry: Option<Duration>,
}

/// What the next poll waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    /// The time from the beginning of a poll to that of the next.
    pub(super) interval: Duration,
    /// The time that passes in any case.
    pub(super) least: Duration,
    /// Whether the configured interval is kept, if that has changed.
    pub(super) news: Option<bool>,
}

impl Polled {
    /// A poll that took so many requests.
    pub(super) fn new(requests: u32, failure: Option<&Error>) -> Self {
        let retry = failure.and_then(|error| match error.retry() {
            Retry::After(after) => after,
            Retry::No => None,
        });
        Self { requests, retry }
    }
}

impl Cadence {
    pub(super) fn new(configured: Duration) -> Self {
        Self { configured, cost: 0, is_slow: false }
    }

    /// The requests that a poll takes.
    pub(super) fn cost(&self) -> u32 {
        self.cost
    }

    /// What comes after a poll. `sustainable` is how many requests per second polls can go on with.
    pub(super) fn after(&mut self, polled: &Polled, sustainable: Option<f64>) -> Pause {
        // A poll that failed may have stopped half way.
        self.cost = match polled.retry {
            None if polled.requests > 0 => polled.requests,
            _ => self.cost.max(polled.requests),
        };
        let needed = sustainable.map_or(0.0, |per_second| f64::from(self.cost) / per_second);
        let needed = Duration::try_from_secs_f64(needed).unwrap_or(LONGEST).min(LONGEST);
        let is_slow = needed > self.configured;
        let news = (is_slow != self.is_slow).then_some(!is_slow);
        self.is_slow = is_slow;
        let least = polled.retry.unwrap_or_default();
        Pause { interval: self.configured.max(needed), least, news }
    }

    /// Whether the limits make polls rarer than configured.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn polled(requests: u32) -> Polled {
        Polled::new(requests, None)
    }

    #[test]
    fn what_the_limits_have_no_room_for_comes_more_rarely() {
        let mut cadence = Cadence::new(INTERVAL);
        let mut after = |polled: Polled, sustainable| {
            let Pause { interval, least, news } = cadence.after(&polled, sustainable);
            (interval.as_secs(), least.as_secs(), news)
        };
        assert_eq!(after(polled(201), None), (30, 0, None), "there is no limit");
        assert_eq!(after(polled(50), Some(2.0)), (30, 0, None));
        assert_eq!(after(polled(201), Some(2.0)), (100, 0, Some(false)));
        assert_eq!(after(polled(0), Some(2.0)), (100, 0, None), "it shared a load");
        let error = Error::new(Reason::UpstreamThrottled, "x");
        let error = error.with_retry(Retry::After(Some(Duration::from_secs(70))));
        let failed = Polled::new(10, Some(&error));
        assert_eq!(after(failed, Some(2.0)), (100, 70, None), "it stopped half way");
        assert_eq!(after(polled(10), Some(2.0)), (30, 0, Some(true)));
        assert_eq!(after(polled(u32::MAX), Some(0.001)).0, LONGEST.as_secs());
    }
}
