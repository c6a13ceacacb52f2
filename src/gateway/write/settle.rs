//! Looks whether an acknowledged write shows in what the upstream returns.
//!
//! An acknowledgment is not proof: upstreams acknowledge what they do not carry out, and their
//! reads may lag behind their writes. A write that shows at once costs one read.

use std::{future::Future, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};

/// What a look found: the state, and whether it shows the write.
pub(crate) enum Look<T> {
    Shows(T),
    ShowsNot(T),
}

/// How looking for an acknowledged write ended.
pub(crate) enum Settled<T> {
    /// The upstream shows the write.
    Shown(T),
    /// It does not, after the time that its reads may lag behind. The last state that it showed.
    NotShown(T),
    /// It does not, and the deadline passes before that time is over.
    Open,
    /// It cannot be read.
    Unread(Error),
}

/// Looks until the write shows, for as long as the upstream's reads may lag behind.
pub(crate) async fn settle<T, F>(
    settle_time: Duration,
    deadline: Instant,
    mut look: impl FnMut() -> F,
) -> Settled<T>
where
    F: Future<Output = Result<Look<T>>>,
{
    let over = Instant::now() + settle_time;
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_jitter()
        .without_max_times()
        .build();
    let mut seen = None;
    loop {
        let began = Instant::now();
        match look().await {
            Ok(Look::Shows(found)) => return Settled::Shown(found),
            Ok(Look::ShowsNot(found)) => seen = Some(found),
            Err(error) if seen.is_none() => return Settled::Unread(error),
            Err(error) => {
                tracing::debug!(target: "gateway", %error, "could not read back a write");
            }
        }
        if began >= over
            && let Some(seen) = seen
        {
            return Settled::NotShown(seen);
        }
        let now = Instant::now();
        let pause = pauses.next().unwrap_or_default().min(over.saturating_duration_since(now));
        if now + pause >= deadline {
            return Settled::Open;
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks at these answers, and at the last one again and again: whether they show the write;
    /// `None` for one that cannot be read. Returns the end and the number of looks.
    async fn looked(answers: &[Option<bool>], within: u64, deadline: u64) -> (&'static str, usize) {
        let mut looks = 0;
        let deadline = Instant::now() + SECOND * u32::try_from(deadline).unwrap();
        let settled = settle(SECOND * u32::try_from(within).unwrap(), deadline, || {
            let answer = answers.get(looks).or(answers.last()).copied().flatten();
            looks += 1;
            async move {
                match answer {
                    Some(true) => Ok(Look::Shows(())),
                    Some(false) => Ok(Look::ShowsNot(())),
                    None => Err(Error::new(Reason::UpstreamUnavailable, "down")),
                }
            }
        });
        let end = match settled.await {
            Settled::Shown(()) => "shown",
            Settled::NotShown(()) => "not shown",
            Settled::Open => "open",
            Settled::Unread(_) => "unread",
        };
        (end, looks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_shows_costs_one_read() {
        assert_eq!(looked(&[Some(true)], 5, 20).await, ("shown", 1));
        assert_eq!(looked(&[Some(true)], 0, 20).await, ("shown", 1));
        assert_eq!(looked(&[None], 5, 20).await, ("unread", 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_shows_late_is_waited_for() {
        assert_eq!(looked(&[Some(false), None, Some(true)], 5, 20).await, ("shown", 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_never_shows_is_given_up_after_the_settle_time() {
        let began = Instant::now();
        let (end, looks) = looked(&[Some(false)], 5, 20).await;
        assert_eq!(end, "not shown");
        assert!((5..20).contains(&looks), "{looks}");
        assert_eq!(began.elapsed(), SECOND * 5);
        assert_eq!(looked(&[Some(false)], 0, 20).await, ("not shown", 1));
        // Reads that fail last prove nothing, but the one before did.
        assert_eq!(looked(&[Some(false), None], 5, 20).await.0, "not shown");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_leaves_it_open() {
        let began = Instant::now();
        assert_eq!(looked(&[Some(false)], 5, 3).await.0, "open");
        assert!(began.elapsed() < SECOND * 3);
    }
}
