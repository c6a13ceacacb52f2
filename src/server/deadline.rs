//! How long a call may take: `grpc-timeout`, a default, a ceiling, and the end of streams when the
//! server stops listening.
//!
//! tonic's own timeout answers CANCELLED, which clients take for their own doing.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    body::{Polled, Step, wrap},
    connection,
    methods::Method,
    reply,
};
use crate::{
    cache::Control,
    error::{Effect, Error, Kind, Reason},
    gateway::call::{Call, Record},
};

/// Longest part of a caller's time that is kept back for the answer's way.
const MAX_MARGIN: Duration = Duration::from_millis(50);

/// How long after the deadline a client may still take the answer.
const TAKING: Duration = Duration::from_secs(1);

/// What the layer needs.
#[derive(Debug, Clone)]
pub(super) struct Deadlines {
    pub default: Duration,
    pub max: Duration,
    /// Cancelled when the server stops listening.
    pub closing: CancellationToken,
}

/// Gives the call its deadline, and ends it there.
///
/// A stream is bounded by what its caller asked for and by nothing else; the default and the ceiling
/// bound its beginning, which is also what its `Call` says.
pub(super) async fn layer(
    State(deadlines): State<Deadlines>,
    mut request: Request,
    next: Next,
) -> Response {
    let method = Method::of(&request);
    let asked = match requested(request.headers()) {
        Ok(asked) => asked,
        Err(error) => return reply::refuse(&error),
    };
    let timeout = asked.unwrap_or(deadlines.default).min(deadlines.max);
    let now = Instant::now();
    let end = after(now, timeout);
    let record = request.extensions().get::<Arc<Record>>().cloned().unwrap_or_default();
    let call = Call {
        deadline: end - margin(timeout),
        cache_control: Control::default(),
        record: Arc::clone(&record),
    };
    request.extensions_mut().insert(call);

    // The timer asks the handler first: without time there is nothing to ask it for.
    if timeout.is_zero() {
        return reply::refuse(&exceeded(&method, &record));
    }
    let Ok(response) = timeout_at(end, next.run(request)).await else {
        return reply::refuse(&exceeded(&method, &record));
    };
    let end = if method.streaming { asked.map(|asked| after(now, asked)) } else { Some(end) };
    if let Some(end) = end {
        connection::end_stream_at(end + TAKING);
    }
    let bounded = Bounded {
        end: end.map(|end| Box::pin(sleep_until(end))),
        closing: method.streaming.then(|| Box::pin(deadlines.closing.cancelled_owned())),
        method,
        record,
    };
    wrap(response, bounded)
}

struct Bounded {
    end: Option<Pin<Box<Sleep>>>,
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    method: Arc<Method>,
    record: Arc<Record>,
}

impl Step for Bounded {
    // The body comes first, so that what it says last (NOT_SERVING) still leaves.
    fn poll(&mut self, body: Pin<&mut Body>, cx: &mut Context<'_>) -> Polled {
        let frame = body.poll_frame(cx);
        if frame.is_ready() {
            return frame;
        }
        let error = if is_over(&mut self.end, cx) {
            exceeded(&self.method, &self.record)
        } else if is_over(&mut self.closing, cx) {
            let message = "the gateway is going down; open the stream again";
            reply::error(&self.method, Reason::Overloaded, message)
        } else {
            return Poll::Pending;
        };
        Poll::Ready(Some(Ok(Frame::trailers(reply::trailers(&error)))))
    }
}

fn is_over(until: &mut Option<Pin<Box<impl Future<Output = ()>>>>, cx: &mut Context<'_>) -> bool {
    until.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_ready())
}

/// Normally the gateway answers before the deadline and says what became of a write. When even that
/// is late, the layer knows only whether a write may have begun.
fn exceeded(method: &Method, record: &Record) -> Error {
    if method.reads || record.upstream_calls() == 0 {
        return reply::error(method, Reason::DeadlineExceeded, "the deadline passed");
    }
    let message =
        "the deadline passed while upstreams were called; the write may have taken effect";
    reply::error(method, Reason::WriteOutcomeUnknown, message)
        .with_kind(Kind::DeadlineExceeded)
        .with_effect(Effect::Unknown)
}

/// What an answer needs on its way to the caller.
fn margin(timeout: Duration) -> Duration {
    (timeout / 20).min(MAX_MARGIN)
}

/// A century is as good as any time that a clock cannot count to.
fn after(now: Instant, timeout: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now + timeout.min(CENTURY)
}

/// The time that the caller gives: `grpc-timeout` as gRPC's PROTOCOL-HTTP2 has it, at most eight
/// digits and a unit. One that cannot be read is an error, because any guess would either cut the call
/// too early or let it run when nobody waits any more.
fn requested(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(parse);
    let message = "the metadata grpc-timeout is not 1 to 8 digits and one of H, M, S, m, u, n";
    parsed.map(Some).ok_or_else(|| Error::new(Reason::MalformedRequest, message))
}

fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 60 * 60),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_timeouts_as_the_protocol_writes_them() {
        for (text, time) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000n", None),
            ("1s", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("+1S", None),
            ("1 S", None),
            ("1é", None),
        ] {
            assert_eq!(parse(text), time, "{text:?}");
        }
    }

    #[test]
    fn keeps_a_twentieth_back_and_at_most_50_ms() {
        assert_eq!(margin(Duration::from_millis(200)), Duration::from_millis(10));
        assert_eq!(margin(Duration::from_secs(10)), MAX_MARGIN);
        let _ = after(Instant::now(), Duration::MAX);
    }
}
