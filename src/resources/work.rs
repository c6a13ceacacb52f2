//! Work that an async thread does between two waits, counted so that it waits often enough.

use tokio::task::yield_now;

/// After about so many nanoseconds of work, other tasks run.
const TURN: u64 = 1_000_000;

/// The work of one loop since other tasks ran.
#[derive(Debug, Default)]
pub struct Work {
    since: u64,
}

impl Work {
    /// About so many nanoseconds of work are done. Lets other tasks run if it is time.
    pub async fn done(&mut self, nanoseconds: usize) {
        self.since = self.since.saturating_add(nanoseconds as u64);
        if self.since >= TURN {
            self.since = 0;
            yield_now().await;
        }
    }
}

/// About what it takes to decode a profile of so many bytes, or to encode it, in nanoseconds.
#[must_use]
pub const fn coding(bytes: usize) -> usize {
    500 + bytes * 8
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn others_run_after_each_turn_of_work() {
        let mut polls = 0;
        let mut work = pin!(async {
            let mut work = Work::default();
            for _ in 0..10 {
                work.done(TURN as usize / 2).await;
            }
        });
        while poll!(work.as_mut()).is_pending() {
            polls += 1;
        }
        assert_eq!(polls, 5);
    }
}
