//! Lines of the log about what may happen thousands of times a second.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Least time between two lines.
const BETWEEN: Duration = Duration::from_secs(10);

/// Says how often something happened, and not too often.
#[derive(Debug, Default)]
pub(super) struct Rarely(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    times: u64,
}

impl Rarely {
    /// It happened. If it is time for a line, gives how often since the last one.
    pub(super) fn happened(&self) -> Option<u64> {
        let mut state = self.0.lock();
        state.times += 1;
        let now = Instant::now();
        if state.last.is_some_and(|last| now - last < BETWEEN) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_tells_of_all_since_the_last_one() {
        let rarely = Rarely::default();
        assert_eq!(rarely.happened(), Some(1));
        assert_eq!(rarely.happened(), None);
        assert_eq!(rarely.happened(), None);
        tokio::time::advance(BETWEEN).await;
        assert_eq!(rarely.happened(), Some(3));
    }
}
