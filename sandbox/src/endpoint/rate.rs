//! The rate limit of profile reads: a bucket that holds a burst and refills steadily.
//!
//! Documented: 100 a second with a burst of 50 for `GET /api/v1/service_profile/`, for the whole
//! organization. Inferred: that list and single reads count together. Other documented limits
//! (2,000 in five minutes for an address, ten million a month) are not modeled.

use tokio::time::Instant;

use super::switches::Switches;

/// What is left of the burst, and at what time.
#[derive(Default)]
pub(super) struct Bucket(Option<(f64, Instant)>);

impl Bucket {
    /// Whether one more read is within the limit; if so it is counted.
    pub(super) fn take(&mut self, switches: &Switches) -> bool {
        self.take_at(Instant::now(), switches.rate_per_second, switches.rate_burst)
    }

    fn take_at(&mut self, now: Instant, per_second: u32, burst: u32) -> bool {
        let burst = f64::from(burst);
        let left = self.0.map_or(burst, |(left, at)| {
            let refilled = now.saturating_duration_since(at).as_secs_f64() * f64::from(per_second);
            (left + refilled).min(burst)
        });
        let within = left >= 1.0;
        self.0 = Some((if within { left - 1.0 } else { left }, now));
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_the_steady_rate() {
        let mut bucket = Bucket::default();
        let start = Instant::now();
        let at_once = (0..200).filter(|_| bucket.take_at(start, 100, 50)).count();
        assert_eq!(at_once, 50);
        let later = start + Duration::from_millis(101);
        assert_eq!((0..200).filter(|_| bucket.take_at(later, 100, 50)).count(), 10);
        let much_later = start + Duration::from_secs(60);
        assert_eq!((0..200).filter(|_| bucket.take_at(much_later, 100, 50)).count(), 50);
    }
}
