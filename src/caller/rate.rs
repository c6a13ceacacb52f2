//! So many within a time, as the configuration has it, and what is used of it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::bucket::{Bucket, SECOND};

/// The units of time, each with its word and its seconds.
const UNITS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];
/// Most within one unit: each takes at least ten microseconds.
const MOST: u32 = 100_000;
/// More is not owed, whatever was used.
const MOST_OWED: u64 = 600 * SECOND;

/// So many within a time, such as `200/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: &'static str,
    seconds: u64,
}

impl Rate {
    /// Reads `200/s`, `50/m` or `1/h`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/')?;
        let (unit, seconds) = *UNITS.iter().find(|(word, _)| *word == unit.trim())?;
        let count = count.trim();
        let is_plain = count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| is_plain && (1..=MOST).contains(count))?;
        Some(Self { count, unit, seconds })
    }

    /// How long one takes, as buckets count.
    fn cost(self) -> u64 {
        self.seconds * SECOND / u64::from(self.count)
    }
}

impl Default for Rate {
    /// The least.
    fn default() -> Self {
        Self { count: 1, unit: "h", seconds: 3600 }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit)
    }
}

/// What one caller has used of a rate, of which it may use a second at once, or one.
#[derive(Debug, Default)]
pub(super) struct Rated {
    /// How long one takes; zero without a rate.
    cost: AtomicU64,
    used: Bucket,
}

impl Rated {
    /// From now on, this is the rate. What was used stays if it was the rate before. Another one
    /// starts over: a caller that gets more does not wait for what it used of less.
    pub(super) fn set(&self, rate: Option<Rate>) {
        let cost = rate.map_or(0, Rate::cost);
        if self.cost.swap(cost, Ordering::Relaxed) != cost {
            self.used.refill();
        }
    }

    /// Takes one, or says how long it takes until there is one.
    pub(super) fn take(&self) -> Result<(), Duration> {
        let Some((cost, most)) = self.bounds() else { return Ok(()) };
        self.used.take(cost, most).map_err(Duration::from_micros)
    }

    /// Whether there is one, or how long it takes until there is; what was charged counts.
    pub(super) fn has_one(&self) -> Result<(), Duration> {
        let Some((_, most)) = self.bounds() else { return Ok(()) };
        self.used.take(0, most).map_err(Duration::from_micros)
    }

    /// Takes one whether there is one or not, and owes it if not.
    pub(super) fn charge(&self) {
        if let Some((cost, _)) = self.bounds() {
            // Ten minutes are owed at most, and then nothing is added.
            let _ = self.used.take(cost, MOST_OWED);
        }
    }

    /// What one costs, and the most that may be in use for another one.
    fn bounds(&self) -> Option<(u64, u64)> {
        let cost = self.cost.load(Ordering::Relaxed);
        (cost > 0).then(|| (cost, SECOND.saturating_sub(cost)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn a_rate_is_shown_as_it_was_written() {
        for text in ["200/s", "1/h", "100000/m"] {
            assert_eq!(Rate::read(text).unwrap().to_string(), text);
        }
        for wrong in ["", "200", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "1/d", "100001/s", "1/s/s"] {
            assert_eq!(Rate::read(wrong), None, "{wrong}");
        }
    }

    fn rated(rate: &str) -> Rated {
        let rated = Rated::default();
        rated.set(Rate::read(rate));
        rated
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_of_it_may_be_used_at_once_and_comes_back_with_time() {
        // The clock of the process may have begun on another one.
        advance(Duration::from_secs(3600)).await;
        let calls = rated("10/s");
        let taken = |calls: &Rated| (0..100).filter(|_| calls.take().is_ok()).count();
        assert_eq!(taken(&calls), 10);
        assert_eq!(calls.take(), Err(Duration::from_millis(100)));
        advance(Duration::from_millis(500)).await;
        assert_eq!(taken(&calls), 5);
        let rare = rated("2/m");
        assert_eq!(taken(&rare), 1);
        assert_eq!(rare.take(), Err(Duration::from_secs(30)));
        assert_eq!(taken(&rated("no rate")), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_charged_is_owed_and_never_more_than_ten_minutes_of_it() {
        advance(Duration::from_secs(3600)).await;
        let requests = rated("10/s");
        (0..10).for_each(|_| requests.charge());
        assert_eq!(requests.has_one(), Err(Duration::from_millis(100)));
        (0..90).for_each(|_| requests.charge());
        assert_eq!(requests.has_one(), Err(Duration::from_millis(9100)));
        advance(Duration::from_secs(10)).await;
        assert_eq!(requests.has_one(), Ok(()));
        (0..100_000).for_each(|_| requests.charge());
        let owed = requests.has_one().unwrap_err();
        assert!(owed <= Duration::from_secs(601), "{owed:?}");
        // Another rate is one for what comes.
        requests.set(Rate::read("10/s"));
        assert_eq!(requests.has_one(), Err(owed));
        requests.set(Rate::read("20/s"));
        assert_eq!(requests.has_one(), Ok(()));
    }
}
