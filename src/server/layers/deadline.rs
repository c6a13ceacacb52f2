//! How long a call may take: `grpc-timeout`, a default, a maximum, and the end of its connection.
//!
//! tonic's own timeout responds with CANCELLED, which tells clients that they cancelled the call.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::future::Either;
use http::{HeaderMap, HeaderName, Response};
use http_body::Frame;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    body::{Answer, Polled, Step, Stepped, wrap},
    cut::Cut,
    methods::Method,
    passing::Passing,
    reply,
};
use crate::{
    call::{Admitted, CallRecord},
    error::{DEADLINE_PASSED, Effect, Error, Kind, OUTCOME_UNKNOWN, Reason},
    server::transport::executor,
};

/// Most of a caller's time that is reserved for sending the response.
const MAX_MARGIN: Duration = Duration::from_millis(50);

/// How long after the deadline a client may still receive the response.
const RECEIVE_GRACE: Duration = Duration::from_secs(1);

/// Gives the call its deadline, and ends it there, or with its connection.
///
/// A stream is limited only by the timeout that its caller asked for; the default and the maximum
/// limit its start, and so does the deadline in its `Admitted`.
pub(crate) struct Deadline<S> {
    pub inner: S,
    pub default: Duration,
    pub max: Duration,
}

impl<S, B, A> Service<Passing<B>> for Deadline<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<Stepped<Bounded, A>>;
    type Error = Infallible;
    type Future = Either<Timed<S::Future>, Ready<Result<Self::Response, Infallible>>>;

    fn call(&self, mut passing: Passing<B>) -> Self::Future {
        let refuse = |error: &Error| Either::Right(ready(Ok(reply::refuse(error))));
        let asked = match requested(passing.request.headers()) {
            Ok(asked) => asked,
            Err(error) => return refuse(&error),
        };
        let timeout = asked.unwrap_or(self.default).min(self.max);
        if timeout.is_zero() {
            return refuse(&exceeded(&passing.method, &passing.record));
        }
        let end = after(passing.started, timeout);
        let method = Arc::clone(&passing.method);
        let record = Arc::clone(&passing.record);
        let deadline = end - margin(timeout);
        let closing = Arc::clone(&passing.closing);
        let leave = method.streaming.then(|| closing.leave.clone());
        let admitted = Admitted { deadline, record: Arc::clone(&record), leave };
        passing.request.extensions_mut().insert(admitted);
        let cut = Cut::new(closing, &method);
        let bounded = Bounded { end: Some(End::new(end)), cut, method, record };
        let stream_end = asked.map(|asked| after(passing.started, asked));
        Either::Left(Timed { inner: self.inner.call(passing), stream_end, bounded: Some(bounded) })
    }
}

pin_project! {
    /// A call that has its deadline.
    pub(crate) struct Timed<F> {
        #[pin]
        inner: F,
        // When the call ends if it is a stream.
        stream_end: Option<Instant>,
        bounded: Option<Bounded>,
    }
}

impl<F, A> Future for Timed<F>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Bounded, A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.inner.poll(cx);
        // Taken once: a future that is complete is not polled again.
        let Some(mut bounded) = this.bounded.take() else { return Poll::Pending };
        let Poll::Ready(Ok(response)) = polled else {
            if let Poll::Ready(error) = bounded.poll_end(cx) {
                return Poll::Ready(Ok(reply::refuse(&error)));
            }
            *this.bounded = Some(bounded);
            return Poll::Pending;
        };
        if bounded.method.streaming {
            bounded.end = this.stream_end.map(End::new);
        }
        let end = bounded.end.as_ref().map(|end| end.at + RECEIVE_GRACE);
        if !executor::end_stream_at(end) {
            bounded.cut.answer_until(end);
        }
        Poll::Ready(Ok(wrap(response, bounded)))
    }
}

/// Ends the response at the deadline, or with the connection.
pub(crate) struct Bounded {
    end: Option<End>,
    cut: Cut,
    method: Arc<Method>,
    record: Arc<CallRecord>,
}

impl Bounded {
    /// The error that ends the call, once it has to end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if is_over(&mut self.end, cx) {
            return Poll::Ready(exceeded(&self.method, &self.record));
        }
        self.cut.poll(&self.method, &self.record, cx)
    }
}

impl Step for Bounded {
    // The body comes first, so that its last message is still sent: that the server is not serving
    // any more, or where to resume.
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        let frame = body.poll_frame(cx);
        if frame.is_ready() {
            return frame;
        }
        let error = ready!(self.poll_end(cx));
        Poll::Ready(Some(Ok(Frame::trailers(reply::trailers(&error)))))
    }
}

/// A time in the future. Its timer is made when something has to wait for it: most calls end
/// before.
struct End {
    at: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl End {
    fn new(at: Instant) -> Self {
        Self { at, timer: None }
    }
}

impl Future for End {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(at))).as_mut().poll(cx)
    }
}

fn is_over(until: &mut Option<impl Future<Output = ()> + Unpin>, cx: &mut Context<'_>) -> bool {
    until.as_mut().is_some_and(|until| Pin::new(until).poll(cx).is_ready())
}

/// Normally the gateway responds before the deadline and reports the outcome of a write. If that is
/// late too, the layer knows only whether a write may have begun, by this call or by one that it
/// repeats.
fn exceeded(method: &Method, record: &CallRecord) -> Error {
    if method.reads || !record.may_have_written() {
        return reply::error(method, Reason::DeadlineExceeded, DEADLINE_PASSED);
    }
    let message = format!(
        "{OUTCOME_UNKNOWN}; repeat it with its request_id, or look for its effect before you \
         write again: {DEADLINE_PASSED}"
    );
    reply::error(method, Reason::WriteOutcomeUnknown, message)
        .with_kind(Kind::DeadlineExceeded)
        .with_effect(Effect::Unknown)
}

/// The time that sending the response takes.
fn margin(timeout: Duration) -> Duration {
    (timeout / 20).min(MAX_MARGIN)
}

/// A century stands for any time that a clock cannot represent.
fn after(now: Instant, timeout: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now + timeout.min(CENTURY)
}

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The timeout that the caller sends: `grpc-timeout` as gRPC's PROTOCOL-HTTP2 defines it, at most
/// eight digits and a unit. A malformed one is an error, because any guess would either end the
/// call too early or let it run when the caller no longer waits.
fn requested(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(parse);
    let message = "the metadata grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u, n";
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
    fn parses_timeouts_as_the_protocol_defines_them() {
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
    fn a_repeat_of_a_write_with_unknown_outcome_does_not_claim_that_nothing_was_written() {
        let method = |reads| Method {
            label: String::new(),
            name: String::new(),
            streaming: false,
            client_streaming: false,
            probe: false,
            reads,
            needed: crate::server::layers::methods::Needed::Proof,
        };
        let reason = |reads, record: &CallRecord| exceeded(&method(reads), record).reason();
        let record = CallRecord::default();
        assert_eq!(reason(false, &record), Reason::DeadlineExceeded);
        // It has sent nothing yet, but the call that it repeats has.
        record.set_repeats();
        assert_eq!(reason(false, &record), Reason::WriteOutcomeUnknown);
        assert_eq!(reason(true, &record), Reason::DeadlineExceeded);
    }

    #[test]
    fn reserves_a_twentieth_of_the_time_and_at_most_50_ms() {
        assert_eq!(margin(Duration::from_millis(200)), Duration::from_millis(10));
        assert_eq!(margin(Duration::from_secs(10)), MAX_MARGIN);
        let _ = after(Instant::now(), Duration::MAX);
    }
}
