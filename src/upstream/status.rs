//! Errors from HTTP itself, where a dialect adds nothing: throttling, server errors, unreadable
//! bodies.

use std::time::{Duration, SystemTime};

use http::{
    StatusCode,
    header::{DATE, LOCATION, RETRY_AFTER},
};

use super::message::{Reply, Safety, Unread};
use crate::{
    error::{Effect, Error, Reason, Retry, UpstreamFacts, whole_seconds},
    text,
};

/// Longest origin that is shown.
const MAX_ORIGIN_BYTES: usize = 128;
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
        status if gave_up(status) => {
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
        status if status.is_redirection() && reply.headers.contains_key(LOCATION) => Error::new(
            Reason::UpstreamContractViolation,
            format!("{said}: it redirects to {}; check base_url and any proxy", target(reply)),
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
    let (status, what) = (reply.status.as_u16(), why.what());
    let message = format!("the upstream answered HTTP {status} with {what}");
    Error::new(Reason::UpstreamContractViolation, message)
        .with_effect(safety.effect(Effect::Unknown))
        .with_upstream(facts(reply))
}

/// Where a redirect leads: scheme, host and port. The rest may hold what a login page is to know.
fn target(reply: &Reply) -> String {
    let location = reply.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let url = location.and_then(|location| reqwest::Url::parse(location.trim()).ok());
    let origin = url.map(|url| url.origin()).filter(url::Origin::is_tuple);
    match origin {
        Some(origin) => text::cut(&origin.ascii_serialization(), MAX_ORIGIN_BYTES).into_owned(),
        None => "another path".to_owned(),
    }
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

/// Whether a status says that the upstream's front end or a proxy gave up on the request, so that
/// nothing answers it: 408, 425, 499, 502 to 504, and what content delivery networks (520 to 530)
/// and proxies (598, 599) use for a lost connection.
pub(super) fn gave_up(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 499 | 502..=504 | 520..=530 | 598 | 599)
}

/// How long a 429 pauses the backend; one second if nothing says so.
pub(super) fn throttle_pause(reply: &Reply) -> Duration {
    reply.pause.or_else(|| retry_after(reply)).unwrap_or(Duration::from_secs(1))
}

/// `Retry-After` (RFC 9110, 10.2.3), bounded: the longest, if there are several. A text that is
/// neither a number nor a date says nothing.
pub(super) fn retry_after(reply: &Reply) -> Option<Duration> {
    let values = reply.headers.get_all(RETRY_AFTER).iter();
    let delays = values.filter_map(|value| {
        let value = value.to_str().ok()?.trim();
        delay_seconds(value).or_else(|| delay_until(value, reply))
    });
    delays.max().map(|delay| delay.min(MAX_RETRY_AFTER))
}

/// What [`retry_after`] says, as people read it.
pub(super) fn shown_retry_after(asked: Duration) -> String {
    let shown = humantime::format_duration(whole_seconds(asked));
    let more = if asked < MAX_RETRY_AFTER { "" } else { " or more" };
    format!("{shown}{more}")
}

/// A number of seconds, or several that a proxy joined. Fractions are not in the RFC, but are sent.
fn delay_seconds(value: &str) -> Option<Duration> {
    let numbers = value.split(',').map(|number| {
        let number = number.trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let seconds: f64 = number.parse().ok().filter(|_| digits(whole) && digits(fraction))?;
        // A number too large is meant as a long time.
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    });
    numbers.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// The time until a date, by the clock that wrote it: the answer's own `Date`, if it has one. None
/// is left if the date has passed.
fn delay_until(value: &str, reply: &Reply) -> Option<Duration> {
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let sent = reply.headers.get(DATE).and_then(|sent| date(sent.to_str().ok()?));
    let until = date(value)?;
    Some(until.duration_since(sent.unwrap_or_else(SystemTime::now)).unwrap_or_default())
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
    fn a_redirect_says_where_to_and_no_more() {
        for (location, target) in [
            ("https://sso.corp.example/login?token=t", "https://sso.corp.example"),
            ("https://user:password@sso.corp.example:8443/", "https://sso.corp.example:8443"),
            ("http://10.0.0.1", "http://10.0.0.1"),
            ("/login", "another path"),
            ("//sso.corp.example/login", "another path"),
            ("mailto:someone@corp.example", "another path"),
            ("", "another path"),
        ] {
            for status in [301, 302, 303, 307, 308] {
                let error = failed_status(Safety::Read, &reply(status, &[("location", location)]));
                let expected = format!(
                    "the upstream answered HTTP {status}: it redirects to {target}; check base_url \
                     and any proxy"
                );
                assert_eq!(error.message(), expected, "{location}");
            }
        }
        let long = format!("https://{}.example/", "a".repeat(5000));
        let error = failed_status(Safety::Read, &reply(302, &[("location", &long)]));
        assert!(error.message().len() < 300, "{}", error.message());
        for none in [reply(302, &[]), reply(304, &[])] {
            let error = failed_status(Safety::Read, &none);
            assert!(error.message().ends_with("which its API does not define"));
        }
    }

    #[test]
    fn statuses_of_what_gave_up_are_transient() {
        for status in [408, 425, 499, 502, 503, 504, 520, 524, 530, 598, 599] {
            let error = failed_status(Safety::Read, &reply(status, &[]));
            assert_eq!(error.reason(), Reason::UpstreamUnavailable, "{status}");
            assert!(matches!(error.retry(), Retry::After(Some(_))), "{status}");
        }
        for status in [400, 404, 409, 410, 418, 422, 500, 501, 505, 511, 531, 597, 600] {
            assert!(!gave_up(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }

    #[test]
    fn reads_and_limits_retry_after() {
        const SENT: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
        let seconds = Duration::from_secs;
        for (values, asked) in [
            (&["7"][..], Some(seconds(7))),
            (&[" 7 "], Some(seconds(7))),
            (&["0"], Some(Duration::ZERO)),
            (&["1.5"], Some(Duration::from_millis(1500))),
            (&["99999999"], Some(MAX_RETRY_AFTER)),
            (&["99999999999999999999999999"], Some(MAX_RETRY_AFTER)),
            (&["3", "5", "4"], Some(seconds(5))),
            (&["soon", "4"], Some(seconds(4))),
            (&["3, 5"], Some(seconds(5))),
            (&["Wed, 21 Oct 2015 07:28:02 GMT"], Some(seconds(2))),
            (&["Wednesday, 21-Oct-15 07:28:02 GMT"], Some(seconds(2))),
            (&["Wed Oct 21 07:28:02 2015"], Some(seconds(2))),
            (&[SENT], Some(Duration::ZERO)),
            (&["Wed, 21 Oct 2015 07:27:00 GMT"], Some(Duration::ZERO)),
            (&["Fri, 31 Dec 9999 23:59:59 GMT"], Some(MAX_RETRY_AFTER)),
            (&[], None),
            (&[""], None),
            (&["-5"], None),
            (&["+5"], None),
            (&["5s"], None),
            (&["1e3"], None),
            (&[".5"], None),
            (&["5."], None),
            (&["1.5.5"], None),
            (&["soon"], None),
            (&["NaN"], None),
            (&["3, soon"], None),
        ] {
            let mut reply = reply(429, &[("date", SENT)]);
            for value in values {
                reply.headers.append(RETRY_AFTER, value.parse().unwrap());
            }
            assert_eq!(retry_after(&reply), asked, "{values:?}");
            let error = failed_status(Safety::Read, &reply);
            let shown = asked.unwrap_or(seconds(1));
            assert_eq!(error.retry(), Retry::After(Some(shown)), "{values:?}");
        }
    }

    #[test]
    fn a_time_that_was_cut_is_not_shown_as_what_was_asked_for() {
        for (header, shown) in [("7", "7s"), ("3599", "59m 59s"), ("86400", "1h or more")] {
            let asked = retry_after(&reply(429, &[("retry-after", header)])).unwrap();
            assert_eq!(shown_retry_after(asked), shown);
        }
    }

    #[test]
    fn a_date_is_measured_by_our_own_clock_only_if_the_answer_has_none() {
        let hour = |hours: u64| SystemTime::now() + Duration::from_secs(3600 * hours);
        let (soon, later) = (httpdate::fmt_http_date(hour(0)), httpdate::fmt_http_date(hour(1)));
        let asked = |headers: &[(&'static str, &str)]| retry_after(&reply(429, headers)).unwrap();
        let minute = Duration::from_secs(60);
        assert!(asked(&[("retry-after", &later)]) > 59 * minute);
        assert!(asked(&[("retry-after", &later), ("date", &soon)]) > 59 * minute);
        assert!(asked(&[("retry-after", &later), ("date", &later)]) < minute);
        assert!(asked(&[("retry-after", &later), ("date", "today")]) > 59 * minute);
    }
}
