//! The clock of the server, as this replica can tell it: for people, and never for a decision.

use std::time::Duration;

use crate::shared::protocol::Time;

/// After so long, what was found is found again: clocks run apart.
const KEPT: Duration = Duration::from_secs(30);

/// How far the clock of the protocol is ahead of the server's.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    /// The least that was found, in microseconds, and when: an answer that took shorter says more.
    ahead: Option<(i128, Time)>,
}

impl ServerClock {
    /// An answer that came now says what time it was at the server.
    pub(super) fn told(&mut self, at_server: Duration, now: Time) {
        let ahead = microseconds(now) - microseconds(at_server);
        let is_better = |(known, at): (i128, Time)| ahead <= known || now >= at + KEPT;
        if self.ahead.is_none_or(is_better) {
            self.ahead = Some((ahead, now));
        }
    }

    /// How old something is that was written at this time of the server, but for the time that the
    /// quickest answer took.
    pub(super) fn age(&self, written: Duration, now: Time) -> Option<Duration> {
        let (ahead, _) = self.ahead?;
        let age = microseconds(now) - ahead - microseconds(written);
        Some(Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    }
}

fn microseconds(time: Duration) -> i128 {
    i128::try_from(time.as_micros()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's clock began long before.
    const SERVER: Duration = Duration::from_secs(1_700_000_000);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_quickest_answer_counts_until_it_is_old() {
        let mut clock = ServerClock::default();
        assert_eq!(clock.age(SERVER, ms(0)), None);
        clock.told(SERVER, ms(40));
        clock.told(SERVER + ms(500), ms(502));
        clock.told(SERVER + ms(1000), ms(1300));
        assert_eq!(clock.age(SERVER + ms(2000), ms(2102)), Some(ms(100)));
        assert_eq!(
            clock.age(SERVER + ms(2000), ms(2001)),
            Some(ms(0)),
            "not before it was written"
        );
        // The server's clock was set back by an hour.
        let later = ms(40_000);
        clock.told(SERVER + later - ms(3_600_000), later);
        assert_eq!(clock.age(SERVER + later - ms(3_600_000), later + ms(7)), Some(ms(7)));
    }
}
