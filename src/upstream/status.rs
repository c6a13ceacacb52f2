//! Errors from HTTP itself, where a dialect adds nothing: throttling, server errors, unreadable
//! bodies.

use std::time::{Duration, SystemTime};

use http::{StatusCode, header::RETRY_AFTER};

use super::message::{Reply, Safety, Unread};
use crate::{
    error::{Effect, Error, Reason, Retry, UpstreamFacts},
    text,
};

/// Longest pause that is passed on to callers.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The error for a reply whose HTTP status alone says that it failed. A status says nothing of a
/// write's effect: that is the dialect's to say.
#[must_use]
pub fn failed_status(safety: Safety, reply: &Reply) -> Error {
    let status = reply.status;
    let said = format!("the upstream answered HTTP {}", status.as_u16());
    let error = match status {
        StatusCode::UNAUTHORIZED => Error::new(
            Reason::UpstreamAuthFailed,
            format!(
                "{said}: it rejected the gateway's credentials; check this backend's configuration"
            ),
        ),
        StatusCode::FORBIDDEN => Error::new(
            Reason::UpstreamPermissionDenied,
            format!("{said}: the gateway's account is not allowed to do this"),
        ),
        StatusCode::TOO_MANY_REQUESTS => {
            let after = throttle_pause(reply);
            Error::new(Reason::UpstreamThrottled, format!("{said}: too many requests"))
                .with_retry(Retry::After(Some(after)))
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            let after = retry_after(reply).unwrap_or(Duration::from_secs(1));
            Error::new(Reason::UpstreamUnavailable, said).with_retry(Retry::After(Some(after)))
        }
        status if status.is_server_error() => Error::new(
            Reason::UpstreamInternal,
            format!("{said}: an internal error of the upstream"),
        ),
        StatusCode::NOT_FOUND => Error::new(
            Reason::UpstreamContractViolation,
            format!("{said} with a body that is not its API's; check the base URL and any proxy"),
        ),
        _ => Error::new(
            Reason::UpstreamContractViolation,
            format!("{said}, which its API does not define"),
        ),
    };
    error.with_effect(safety.effect(Effect::Unknown)).with_upstream(facts(reply))
}

/// The error for a success whose body the dialect cannot read.
#[must_use]
pub fn unreadable(safety: Safety, reply: &Reply, why: Unread) -> Error {
    let what = match why {
        Unread::Empty => "an empty body",
        Unread::Html => "an HTML or XML page",
        Unread::NotJson => "a body that is not valid JSON",
        Unread::NotTheDialect => "JSON that lacks the members that its API promises",
    };
    let status = reply.status.as_u16();
    let message = format!("the upstream answered HTTP {status} with {what}");
    Error::new(Reason::UpstreamContractViolation, message)
        .with_effect(safety.effect(Effect::Unknown))
        .with_upstream(facts(reply))
}

fn facts(reply: &Reply) -> UpstreamFacts {
    // Only the beginning is used; a body may be megabytes.
    let head = reply.body.get(..reply.body.len().min(1024)).unwrap_or_default();
    let plain = reply
        .headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/plain"));
    UpstreamFacts {
        status: Some(reply.status.as_u16()),
        message: plain.then(|| text::presentable(&String::from_utf8_lossy(head))).flatten(),
        ..UpstreamFacts::default()
    }
}

/// How long a 429 asks to pause; one second if it does not say.
pub(super) fn throttle_pause(reply: &Reply) -> Duration {
    retry_after(reply).unwrap_or(Duration::from_secs(1))
}

/// `Retry-After` (RFC 9110, 10.2.3) as seconds or as a date, bounded.
pub(super) fn retry_after(reply: &Reply) -> Option<Duration> {
    let value = reply.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok()?,
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &str)]) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Reply::new(StatusCode::from_u16(status).unwrap(), map, Bytes::new())
    }

    #[test]
    fn maps_statuses() {
        for (status, reason) in [
            (302, Reason::UpstreamContractViolation),
            (401, Reason::UpstreamAuthFailed),
            (403, Reason::UpstreamPermissionDenied),
            (404, Reason::UpstreamContractViolation),
            (418, Reason::UpstreamContractViolation),
            (429, Reason::UpstreamThrottled),
            (500, Reason::UpstreamInternal),
            (502, Reason::UpstreamUnavailable),
            (503, Reason::UpstreamUnavailable),
            (504, Reason::UpstreamUnavailable),
        ] {
            for (safety, effect) in [(Safety::Write, Effect::Unknown), (Safety::Read, Effect::None)]
            {
                let error = failed_status(safety, &reply(status, &[]));
                assert_eq!((error.reason(), error.effect()), (reason, effect), "{status}");
            }
        }
    }

    #[test]
    fn reads_and_limits_retry_after() {
        let after =
            |value| failed_status(Safety::Read, &reply(429, &[("retry-after", value)])).retry();
        assert_eq!(after("7"), Retry::After(Some(Duration::from_secs(7))));
        assert_eq!(after("99999999"), Retry::After(Some(MAX_RETRY_AFTER)));
        assert_eq!(after("soon"), Retry::After(Some(Duration::from_secs(1))));
        assert_eq!(after("Fri, 31 Dec 9999 23:59:59 GMT"), Retry::After(Some(MAX_RETRY_AFTER)));
    }
}
