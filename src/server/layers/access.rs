//! One log line and one count for each call. Decides nothing.

use std::{
    borrow::Cow,
    collections::HashMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::Code;
use tracing::Level;

use super::{
    body::{Answer, Polled, Step, Stepped, bare, wrap},
    cut, denials,
    methods::{Method, Methods},
    passing::{Arrived, Passing},
    reply,
};
use crate::{
    call::{CallRecord, CallerIds},
    error::{Error, Reason},
    rpc::{
        self,
        status::{MAX_MESSAGE_BYTES, Repeated},
    },
    server::{
        metrics::{CallMetrics, ServerMetrics},
        transport::closing::Closing,
    },
    telemetry::AuditLog,
    text::{self, UPSTREAM_MESSAGE_BYTES},
};

/// Gives the call its record, and reports how the call ended.
pub(crate) struct Access<S> {
    inner: S,
    by_path: HashMap<String, Arc<Known>>,
    unknown: Arc<Known>,
}

/// A method and the metrics of its calls.
struct Known {
    method: Arc<Method>,
    calls: CallMetrics,
    /// Where calls that were denied are told of.
    audit: Option<AuditLog>,
}

impl<S> Access<S> {
    pub(crate) fn new(
        inner: S,
        methods: &Methods,
        metrics: &ServerMetrics,
        audit: Option<&AuditLog>,
    ) -> Self {
        let known = |method: &Arc<Method>| {
            let (calls, audit) = (metrics.calls_of(&method.label), audit.cloned());
            Arc::new(Known { method: Arc::clone(method), calls, audit })
        };
        let by_path = methods.iter().map(|(path, method)| (path.to_owned(), known(method)));
        Self { inner, by_path: by_path.collect(), unknown: known(methods.unknown()) }
    }
}

impl<S, B, A> Service<Arrived<B>> for Access<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<Stepped<Running, A>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, arrived: Arrived<B>) -> Self::Future {
        let Arrived { request, web, peer, caller, origin, closing } = arrived;
        let known = self.by_path.get(request.uri().path()).unwrap_or(&self.unknown);
        let caller_ids = CallerIds::of(request.headers());
        let record = Arc::new(CallRecord::from(peer.clone(), caller, caller_ids));
        let running = Running {
            known: Arc::clone(known),
            record: Arc::clone(&record),
            peer,
            closing: Arc::clone(&closing),
            started: Instant::now(),
            end: None,
            reported: false,
        };
        known.calls.started();
        let (method, started) = (Arc::clone(&known.method), running.started);
        let passing = Passing { request, web, method, record, started, origin, closing };
        Answering { inner: self.inner.call(passing), running: Some(running) }
    }
}

pin_project! {
    /// A call that has no response yet.
    pub(crate) struct Answering<F> {
        #[pin]
        inner: F,
        running: Option<Running>,
    }
}

impl<F, A> Future for Answering<F>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Running, A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(match this.running.take() {
            Some(running) => running.answered(response),
            None => bare(response),
        }))
    }
}

/// The codes of calls that are worth a warning.
const WARNED: [&str; 3] = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"];

/// What the log and the metrics call a response that is not gRPC.
fn refused_by_http(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Some("HTTP_415"),
        StatusCode::METHOD_NOT_ALLOWED => Some("HTTP_405"),
        StatusCode::HTTP_VERSION_NOT_SUPPORTED => Some("HTTP_505"),
        _ => None,
    }
}

/// A call that has not ended. If it is dropped before its end, it was cancelled or cut off.
pub(crate) struct Running {
    known: Arc<Known>,
    record: Arc<CallRecord>,
    peer: Option<Arc<str>>,
    closing: Arc<Closing>,
    started: Instant,
    end: Option<End>,
    // Reported as soon as the response has ended, and never twice.
    reported: bool,
}

struct End {
    code: &'static str,
    reason: &'static str,
    failure: Failure,
}

/// What else is known of a failure. It is read only for a line that is written.
enum Failure {
    /// Nothing.
    Silent,
    /// The message as it was sent.
    Sent(HeaderValue),
    /// All that the call's record has.
    Told,
}

/// What an upstream has said of a failure.
#[derive(Default)]
struct Said<'a> {
    status: Option<String>,
    code: Option<Cow<'a, str>>,
    request_id: Option<Cow<'a, str>>,
}

impl End {
    fn new(code: &'static str, reason: &'static str) -> Self {
        Self { code, reason, failure: Failure::Silent }
    }

    /// What was said of a failure, and what an upstream has said, if it has.
    fn said<'a>(&'a self, record: &'a CallRecord) -> (Option<Cow<'a, str>>, Said<'a>) {
        let error = match &self.failure {
            Failure::Silent => return (None, Said::default()),
            Failure::Sent(message) => return (Some(reply::message(message)), Said::default()),
            Failure::Told => record.told(),
        };
        let message = error.map(|error| text::cut(error.message(), MAX_MESSAGE_BYTES));
        let short = |text| text::cut(text, UPSTREAM_MESSAGE_BYTES);
        let upstream = error.and_then(Error::upstream).map(|facts| Said {
            status: facts.status.map(|status| status.to_string()),
            code: facts.code.as_deref().map(short),
            request_id: facts.request_id.as_deref().map(short),
        });
        (message, upstream.unwrap_or_default())
    }
}

impl Running {
    fn answered<A: Answer>(mut self, response: Response<A>) -> Response<Stepped<Self, A>> {
        if let Some(code) = refused_by_http(response.status()) {
            self.end = Some(End::new(code, ""));
        } else if reply::code(response.headers()).is_some() || response.body().is_end_stream() {
            let made = response.extensions().get::<Arc<Repeated>>();
            let known = made.map(|refusal| refusal.error().reason());
            self.ended(response.headers(), known);
        } else {
            return wrap(response, self);
        }
        bare(response)
    }

    /// Headers and trailers have been sent, so they are what the client sees. A response that ends
    /// without a status is UNKNOWN to a client. `known` is the reason, where the layer that made
    /// the response says it. Of most others the call's record has it; the rest is decoded.
    fn ended(&mut self, headers: &HeaderMap, known: Option<Reason>) {
        let code = reply::code(headers).unwrap_or(Code::Unknown);
        let mut end = End::new(reply::code_name(code), "");
        if code != Code::Ok {
            let told = self.record.told().filter(|_| known.is_none()).map(Error::reason);
            let reason = known.or(told).or_else(|| reply::reason(headers));
            end.reason = reason.map_or("", |reason| reason.name());
            end.failure = match (told, headers.get(reply::GRPC_MESSAGE)) {
                (Some(_), _) => Failure::Told,
                (None, Some(message)) => Failure::Sent(message.clone()),
                (None, None) => Failure::Silent,
            };
        }
        self.end = Some(end);
    }

    /// How a call ended that was dropped: with its connection, or because its caller left.
    fn dropped(&self) -> End {
        match cut::cut_off(&self.closing, &self.known.method, &self.record) {
            Some(error) => {
                let code = reply::code_name(rpc::status::code(error.kind()));
                End::new(code, error.reason().name())
            }
            None => End::new("CANCELLED", Reason::CallerCancelled.name()),
        }
    }

    fn report(&mut self) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let end = self.end.take().unwrap_or_else(|| self.dropped());
        let took = self.started.elapsed();
        let backend = self.record.backend().unwrap_or_default();
        let upstream = self.record.spending().time();
        self.known.calls.finished(backend, (end.code, end.reason), took, upstream);
        if !self.known.method.probe {
            self.record.caller().ended(end.code);
        }
        if let Some(audit) = &self.known.audit {
            denials::audit(audit, &self.record, &self.known.method, end.reason);
        }
        // To the microsecond: more digits would be noise.
        self.log(&end, took.as_micros() as f64 / 1e3);
    }

    /// What the filter of the log leaves out takes nothing of the caller's rate. Probes come every
    /// few seconds.
    fn log(&self, end: &End, duration_ms: f64) {
        macro_rules! line {
            ($level:ident, $($failure:tt)*) => {
                tracing::$level!(
                    target: "access",
                    call_id = self.record.id().shown().as_str(),
                    method = self.known.method.label.as_str(),
                    backend = self.record.backend(),
                    code = end.code,
                    reason = end.reason,
                    $($failure)*
                    duration_ms,
                    upstream_calls = self.record.upstream_calls(),
                    cache = self.record.cache().map(|served| served.outcome.name()),
                    peer = self.peer.as_deref(),
                    caller = self.record.identity().and_then(|identity| identity.name()),
                    caller_via = self.record.identity().map(|identity| identity.via().name()),
                    workload = self.record.identity().and_then(|identity| identity.workload()),
                    caller_request_id = self.record.caller_ids().request_id(),
                    trace_id = self.record.caller_ids().trace_id(),
                )
            };
        }
        macro_rules! failure {
            ($level:ident) => {{
                let (message, upstream) = end.said(&self.record);
                line!(
                    $level,
                    error = message.as_deref(),
                    resource = self.record.resource(),
                    upstream_status = upstream.status.as_deref(),
                    upstream_code = upstream.code.as_deref(),
                    upstream_request_id = upstream.request_id.as_deref(),
                )
            }};
        }
        macro_rules! within_rate {
            ($filter:ident, $line:expr) => {{
                let is_wanted = tracing::enabled!(target: "access", Level::$filter);
                if is_wanted && self.record.caller().may_log() {
                    $line;
                }
            }};
        }
        match end.code {
            _ if self.known.method.probe => failure!(debug),
            "OK" => within_rate!(INFO, line!(info,)),
            "INTERNAL" | "UNKNOWN" | "DATA_LOSS" => within_rate!(ERROR, failure!(error)),
            code if WARNED.contains(&code) => within_rate!(WARN, failure!(warn)),
            _ => within_rate!(INFO, failure!(info)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.report();
    }
}

impl Step for Running {
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        let frame = ready!(body.poll_frame(cx));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref());
            self.ended(trailers.unwrap_or(&HeaderMap::new()), None);
            self.report();
        }
        Poll::Ready(frame)
    }
}
