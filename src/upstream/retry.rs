//! Which failed requests are retried, and how long is waited before. Sends nothing: the loop is in
//! `attempt`.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::StatusCode;

use super::{
    cause::{Cause, Failure},
    message::{Reply, Safety},
    status,
};
use crate::error::{Reason, Result, Retry};

/// First pause between attempts; it doubles, with jitter, up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Longest pause between attempts, unless the upstream asks for a longer one.
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// How an attempt ended.
pub(super) type Outcome = Result<Reply, Failure>;

/// Whether a request may have left.
pub(super) fn was_sent(outcome: &Outcome) -> bool {
    let unsent = [Cause::Local, Cause::Login, Cause::NotSent];
    !matches!(outcome, Err(failure) if unsent.contains(&failure.cause))
}

/// The pauses between attempts.
pub(super) fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_BACKOFF)
        .with_max_delay(LONGEST_BACKOFF)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Whether a failed request may be retried, and the shortest pause that the upstream asks for.
pub(super) fn worth_repeating(safety: Safety, outcome: &Outcome) -> Option<Duration> {
    let reads = safety == Safety::Read;
    match outcome {
        Ok(reply) if reads && reply.status == StatusCode::TOO_MANY_REQUESTS => {
            Some(status::throttle_pause(reply))
        }
        Ok(reply) if reads && status::gave_up(reply.status) => {
            Some(status::retry_after(reply).unwrap_or_default())
        }
        Ok(_) => None,
        Err(Failure { cause: Cause::NotSent, .. }) => Some(Duration::ZERO),
        Err(Failure { cause: Cause::Lost | Cause::Cut, .. }) => reads.then_some(Duration::ZERO),
        Err(Failure { cause: Cause::Login, error, .. }) if reads => match error.retry() {
            Retry::After(after) if error.reason() == Reason::UpstreamUnavailable => {
                Some(after.unwrap_or_default())
            }
            _ => None,
        },
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_have_failed_together_come_apart() {
        let some = || pauses().take(3).collect::<Vec<_>>();
        assert_ne!(some(), some());
    }
}
