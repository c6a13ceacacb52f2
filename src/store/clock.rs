//! Times that outlive the process.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A time of this process or an earlier one: milliseconds since this one began, or until then.
pub type Moment = i64;

/// Tells times. Within the process they go on evenly, whatever is done to the clock of the machine.
/// As they are kept, they are milliseconds since 1970 by that clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { began: Instant::now() }
    }
}

impl Clock {
    /// Now.
    #[must_use]
    pub fn now(self) -> Moment {
        self.at(Instant::now())
    }

    /// A time of this process.
    #[must_use]
    pub fn at(self, time: Instant) -> Moment {
        match time.checked_duration_since(self.began) {
            Some(after) => milliseconds(after),
            None => -milliseconds(self.began.duration_since(time)),
        }
    }

    /// How long ago a time was; none for one that is to come.
    #[must_use]
    pub fn since(self, time: Moment) -> Duration {
        Duration::from_millis(u64::try_from(self.now() - time).unwrap_or(0))
    }

    /// A time as it is kept.
    #[must_use]
    pub fn to_kept(self, time: Moment) -> u64 {
        u64::try_from(wall() - (self.now() - time)).unwrap_or(0)
    }

    /// A time that was kept. One that is to come, because a clock was set back, counts as now.
    #[must_use]
    pub fn from_kept(self, kept: u64) -> Moment {
        let age = wall() - i64::try_from(kept).unwrap_or(i64::MAX);
        self.now() - age.max(0)
    }
}

/// A time that was kept, as clocks show it; `None` for 0, which stands for one that is not known,
/// and for what no clock shows.
#[must_use]
pub fn time(kept: u64) -> Option<SystemTime> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(kept))?;
    (kept != 0 && can_be_shown(time)).then_some(time)
}

/// Whether a time can be written as people and protobuf write it: before the year 10000.
#[must_use]
pub fn can_be_shown(time: SystemTime) -> bool {
    const YEAR_10000: u64 = 253_402_300_800;
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.is_ok_and(|since| since.as_secs() < YEAR_10000)
}

fn wall() -> i64 {
    milliseconds(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_time_that_was_kept_is_as_long_ago_for_the_next_process() {
        let clock = Clock::default();
        let then = clock.now();
        advance(Duration::from_secs(90)).await;
        assert_eq!(clock.since(then), Duration::from_secs(90));
        let kept = clock.to_kept(then);
        let next = Clock::default();
        let age = next.since(next.from_kept(kept)).as_secs();
        assert!((90..100).contains(&age), "{age}");
        assert!(next.from_kept(kept) < 0, "before it began");
    }

    #[test]
    fn what_no_clock_shows_is_no_time() {
        let second = |kept| humantime::format_rfc3339_seconds(time(kept).unwrap()).to_string();
        assert_eq!(second(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(second(253_402_300_799_999), "9999-12-31T23:59:59Z");
        for kept in [0, 253_402_300_800_000, u64::MAX] {
            assert_eq!(time(kept), None, "{kept}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_is_to_come_counts_as_now() {
        let clock = Clock::default();
        let kept = clock.to_kept(clock.now() + 3_600_000);
        assert_eq!(clock.from_kept(kept), clock.now());
    }
}
