//! The errors of requests that the gateway does not send, because of its own limits or those of the
//! vendor.

use std::time::Duration;

use parking_lot::Mutex;

use super::{
    limits::WindowLimit,
    metrics::{Shed, WindowName},
    pace::Refusal,
};
use crate::{
    caller::SHARE,
    error::{
        Error, Reason, Retry,
        metadata::{CIRCUIT, UNTIL},
        whole_seconds,
    },
    levers::InForce,
};

/// The settings that the errors name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// `max_concurrent_calls`
    pub(super) slots: usize,
    /// `max_queued_calls`
    pub(super) places: usize,
}

/// The errors of a backend's refusals, made once for as long as they are the same: in a flood, each
/// would cost more than the refusal.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Vec<(Refusal, Error)>>);

impl Refusals {
    /// The error for a request that has to wait for longer than it can.
    pub(super) fn error(&self, refusal: Refusal, bounds: Bounds) -> Error {
        // More exactly, no error says it.
        let refusal = refusal.with_wait(whole_seconds(refusal.wait()));
        let mut made = self.0.lock();
        if let Some((_, error)) = made.iter().find(|(other, _)| *other == refusal) {
            return error.clone();
        }
        // One of each kind is kept.
        made.retain(|(other, _)| other.with_wait(refusal.wait()) != refusal);
        let error = error(refusal, bounds);
        made.push((refusal, error.clone()));
        error
    }
}

/// The error for a request that has to wait for longer than it can.
fn error(refusal: Refusal, bounds: Bounds) -> Error {
    match refusal {
        Refusal::Paused(wait) => throttled(wait),
        Refusal::Window(name, wait) => used_up(name, wait),
        Refusal::Shed(shed, wait) => overloaded(shed, wait, bounds),
    }
}

/// Whether a request got no complete answer, although the gateway sent it or tried to.
#[must_use]
pub fn is_unanswered(error: &Error) -> bool {
    let answered = error.upstream().is_some_and(|facts| facts.status.is_some());
    let refused = error.metadata().iter().any(|(key, _)| *key == CIRCUIT);
    error.reason() == Reason::UpstreamUnavailable && !answered && !refused
}

/// The error for a request that an open circuit refuses.
pub(super) fn circuit_open(wait: Duration) -> Error {
    let wait = whole_seconds(wait);
    let message = format!(
        "this backend's circuit breaker is open after repeated failures; nothing was sent; \
         the next attempt is in {}",
        humantime::format_duration(wait)
    );
    Error::new(Reason::UpstreamUnavailable, message)
        .with_retry(Retry::After(Some(wait)))
        .with_metadata(CIRCUIT, "open")
}

/// The error for a request that a circuit refuses which an operator has forced open.
pub(super) fn forced_open(lever: &InForce) -> Error {
    let until = lever.until();
    let message = format!(
        "an operator has forced this backend's circuit open until {until}; nothing was sent{}",
        lever.reason()
    );
    Error::new(Reason::UpstreamUnavailable, message)
        .with_retry(Retry::After(Some(whole_seconds(lever.left()))))
        .with_metadata(CIRCUIT, "open")
        .with_metadata(UNTIL, until)
}

fn throttled(wait: Duration) -> Error {
    let wait = whole_seconds(wait);
    let message = format!(
        "the upstream is rate limiting the gateway; nothing was sent; the pause ends in {}",
        humantime::format_duration(wait)
    );
    Error::new(Reason::UpstreamThrottled, message).with_retry(Retry::After(Some(wait)))
}

/// The error for a request that a window of the vendor's limits leaves no room for.
fn used_up(window: WindowName, wait: Duration) -> Error {
    let what = match window {
        WindowName::Requests => "requests",
        WindowName::MonthlyRequests => "requests within a month",
        WindowName::Logins => "logins",
    };
    let wait = whole_seconds(wait);
    let message = format!(
        "the vendor's limit of {what} leaves no room for this call; nothing was sent; there will \
         be room in {}",
        humantime::format_duration(wait)
    );
    Error::new(Reason::UpstreamThrottled, message).with_retry(Retry::After(Some(wait)))
}

/// The error for so many requests of one call that would end `refusal.wait()` from now, while there
/// are only `left`. `part`: the limit, and how much of it there is for such calls.
pub(super) fn too_many(
    requests: usize,
    refusal: Refusal,
    part: Option<(WindowLimit, u32)>,
    left: Duration,
) -> Error {
    let (wait, left) = (whole_seconds(refusal.wait()), whole_seconds(left));
    let limit = match (refusal, part) {
        (Refusal::Paused(_), _) => return throttled(wait),
        (Refusal::Window(WindowName::MonthlyRequests, _), Some((limit, part))) => {
            format!("`monthly_request_limit` ({limit}) leaves {part} to such calls")
        }
        (Refusal::Window(..), Some((limit, part))) => {
            format!("`request_limit` ({limit}) leaves {part} at a time to such calls")
        }
        (Refusal::Window(..) | Refusal::Shed(..), _) => {
            "`requests_per_second` limits them".to_owned()
        }
    };
    let message = format!(
        "this call takes {requests} requests more, and {limit}: they would take {}, and there are \
         {}, so none of them was sent; ask for fewer fields (a `read_mask` of what the upstream's \
         own list shows takes one request), or raise the limit if the vendor allows it",
        humantime::format_duration(wait),
        humantime::format_duration(left),
    );
    let fits = |(_, part): (_, u32)| usize::try_from(part).is_ok_and(|part| requests <= part);
    // What never fits does not fit later.
    let retry = match part.is_some_and(fits) {
        true => Retry::After(Some(whole_seconds(wait.saturating_sub(left)))),
        false => Retry::No,
    };
    Error::new(Reason::UpstreamThrottled, message).with_retry(retry)
}

fn overloaded(shed: Shed, wait: Duration, Bounds { slots, places }: Bounds) -> Error {
    let reason = match shed {
        Shed::CallerQueue | Shed::CallerLimit | Shed::CallerRate => Reason::CallerQuotaExceeded,
        _ => Reason::Overloaded,
    };
    let why = match shed {
        Shed::CallerQueue => format!(
            "this caller has too many calls that wait for this backend: it has its share \
             (`{SHARE}`) of {places} (`max_queued_calls`)"
        ),
        Shed::CallerLimit => format!(
            "this caller has used its share (`{SHARE}`) of the vendor's limit (`request_limit`, \
             `monthly_request_limit`)"
        ),
        Shed::CallerRate => "the calls of this caller have cost too many requests to upstreams \
                             (`upstream_rate` in its `[auth.callers.NAME.quota]`)"
            .to_owned(),
        Shed::Full => format!(
            "too many calls are waiting for this backend: the limit is {places} \
             (`max_queued_calls`)"
        ),
        Shed::TooLate => "the wait for this backend would exceed the call's deadline".to_owned(),
        Shed::Waited => format!(
            "too many calls to this backend are in progress: the limit is {slots} \
             (`max_concurrent_calls`)"
        ),
        Shed::Rate | Shed::Window | Shed::Pause => {
            "this backend's rate limit would delay the call past its deadline".to_owned()
        }
    };
    // How long others take is a guess; when they no longer count is known.
    let is_known = matches!(shed, Shed::CallerLimit | Shed::CallerRate);
    let wait = if is_known { wait } else { wait.min(Duration::from_secs(60)) };
    let wait = whole_seconds(wait);
    Error::new(reason, format!("{why}; nothing was sent")).with_retry(Retry::After(Some(wait)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { slots: 1, places: 4 };

    #[test]
    fn an_error_that_was_kept_is_the_one_that_is_made() {
        let kept = Refusals::default();
        let kinds = [
            Refusal::Shed(Shed::CallerQueue, Duration::ZERO),
            Refusal::Shed(Shed::Full, Duration::ZERO),
            Refusal::Window(WindowName::Requests, Duration::ZERO),
            Refusal::Window(WindowName::MonthlyRequests, Duration::ZERO),
            Refusal::Paused(Duration::ZERO),
        ];
        for milliseconds in [0, 1, 999, 1000, 1001, 59_500, 60_500, 61_500, 3_600_000, 0] {
            for _ in 0..2 {
                for kind in kinds {
                    let refusal = kind.with_wait(Duration::from_millis(milliseconds));
                    let (one, made) = (kept.error(refusal, BOUNDS), error(refusal, BOUNDS));
                    assert_eq!((one.message(), one.reason()), (made.message(), made.reason()));
                    assert_eq!(one.retry(), made.retry(), "{refusal:?}");
                }
            }
            assert_eq!(kept.0.lock().len(), kinds.len());
        }
    }
}
