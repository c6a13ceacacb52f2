//! Work that an async thread does between two waits, counted so that it waits often enough.

use std::sync::Arc;

use tokio::{task::yield_now, time::Instant};

use super::processors::{LONG, Processing, Processors};
use crate::{
    caller::{Caller, urgently},
    error::Result,
};

/// After about so many nanoseconds of work, other tasks run.
const TURN: u64 = 1_000_000;

/// The work of one call since other tasks ran.
#[derive(Debug, Default)]
pub struct Work {
    since: u64,
    /// Its turn on a processor, if it takes long.
    turn: Option<Processing>,
}

impl Work {
    /// So many nanoseconds of work of a caller, as soon as they may begin. Short work may at once.
    ///
    /// # Errors
    ///
    /// When there is too much of it, or when it would be done after the deadline.
    pub async fn of(
        processors: &Processors,
        caller: &Arc<Caller>,
        deadline: Instant,
        nanoseconds: usize,
    ) -> Result<Self> {
        let turn = match nanoseconds as u64 >= LONG {
            true => Some(urgently(processors.turn(caller, deadline, nanoseconds)).await?),
            false => None,
        };
        Ok(Self { since: 0, turn })
    }

    /// About so many nanoseconds of work are done. Lets other tasks run if it is time.
    pub async fn done(&mut self, nanoseconds: usize) {
        self.since = self.since.saturating_add(nanoseconds as u64);
        if self.since < TURN {
            return;
        }
        let since = std::mem::take(&mut self.since);
        let Some(turn) = &mut self.turn else { return yield_now().await };
        // Others wait for the processor that it has.
        match turn.is_over_after(since) {
            true => urgently(turn.pass_on()).await,
            false => urgently(yield_now()).await,
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.count(self.since);
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
