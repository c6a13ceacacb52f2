//! The vendor's limits: the rate of profile reads, a bucket that holds a burst and refills
//! steadily; and how many requests may come within a time.
//!
//! Documented: 100 a second with a burst of 50 for `GET /api/v1/service_profile/`, for the whole
//! organization; 2,000 requests in five minutes for an address; ten million requests in a month
//! for an organization; 100 logins in five minutes for an address. Inferred: that list and single
//! reads count together, that all requests count, that the windows slide, and that refused requests
//! do not count. All clients of the simulator are one address and one organization, and its month
//! is the time since its start.

use std::{collections::VecDeque, time::Duration};

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

/// When requests and logins came, as far back as the limits look.
#[derive(Default)]
pub(super) struct Windows {
    requests: VecDeque<Instant>,
    logins: VecDeque<Instant>,
    month: u64,
}

impl Windows {
    /// Whether one more request is within the limits; if so it is counted.
    pub(super) fn take(&mut self, is_login: bool, switches: &Switches) -> bool {
        self.take_at(Instant::now(), is_login, switches)
    }

    fn take_at(&mut self, now: Instant, is_login: bool, switches: &Switches) -> bool {
        let length = Duration::from_millis(switches.window_ms);
        let room = |times: &mut VecDeque<Instant>, limit: u32| {
            while times.front().is_some_and(|at| now.saturating_duration_since(*at) >= length) {
                times.pop_front();
            }
            times.len() < usize::try_from(limit).unwrap_or(usize::MAX)
        };
        let within = room(&mut self.requests, switches.window_requests)
            && self.month < u64::from(switches.month_requests)
            && (!is_login || room(&mut self.logins, switches.window_logins));
        if within {
            self.requests.push_back(now);
            self.month += 1;
            if is_login {
                self.logins.push_back(now);
            }
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

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

    #[test]
    fn windows_slide_and_logins_count_twice() {
        let (mut windows, start) = (Windows::default(), Instant::now());
        let switches = Switches {
            window_ms: 60_000,
            window_requests: 10,
            window_logins: 3,
            month_requests: 25,
            ..Switches::new(&Options::default())
        };
        let mut sent = |seconds, is_login, tries| {
            let now = start + Duration::from_secs(seconds);
            (0..tries).filter(|_| windows.take_at(now, is_login, &switches)).count()
        };
        assert_eq!((sent(0, true, 9), sent(0, false, 3)), (3, 3));
        assert_eq!(sent(30, false, 9), 4);
        assert_eq!((sent(59, false, 9), sent(60, false, 9)), (0, 6));
        assert_eq!(sent(90, true, 9), 3);
        assert_eq!(sent(200, false, 99), 6, "the month has no more");
    }
}
