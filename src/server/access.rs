//! One log line and one count per call. Decides nothing.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use tokio::time::Instant;
use tonic::Code;

use super::{
    body::{Polled, Step, wrap},
    methods::{Method, Methods},
    reply,
};
use crate::{
    error::{Reason, reason_name},
    gateway::call::Record,
    telemetry::metrics::Metrics,
};

/// Who is at the other end of the connection; in every request's extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub SocketAddr);

/// What the layer needs.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub metrics: Arc<Metrics>,
    pub methods: Methods,
}

/// Gives the call its record, and tells how the call ended.
pub(super) async fn layer(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    let method = access.methods.find(request.uri().path());
    let record = Arc::new(Record::default());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    request.extensions_mut().insert(Arc::clone(&method));
    request.extensions_mut().insert(Arc::clone(&record));
    let call = Running::start(access.metrics, method, record, peer);
    let response = next.run(request).await;
    call.answered(response)
}

/// A call that is not over. Dropped before its end, it was cancelled.
struct Running {
    metrics: Arc<Metrics>,
    method: Arc<Method>,
    record: Arc<Record>,
    peer: Option<SocketAddr>,
    started: Instant,
    end: End,
}

#[derive(Clone, Copy)]
struct End {
    code: &'static str,
    reason: &'static str,
}

impl Running {
    fn start(
        metrics: Arc<Metrics>,
        method: Arc<Method>,
        record: Arc<Record>,
        peer: Option<SocketAddr>,
    ) -> Self {
        metrics.call_started();
        let end = End { code: "CANCELLED", reason: reason_name(Reason::CallerCancelled) };
        Self { metrics, method, record, peer, started: Instant::now(), end }
    }

    fn answered(mut self, response: Response) -> Response {
        if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            self.end = End { code: "HTTP_415", reason: "" };
        } else if reply::code(response.headers()).is_some() || response.body().is_end_stream() {
            self.ended(response.headers());
        } else {
            return wrap(response, Watched(Some(self)));
        }
        response
    }

    /// What stands in headers or trailers has left the gateway, so it is what happened. An answer
    /// that ends without a status is UNKNOWN to a client.
    fn ended(&mut self, headers: &HeaderMap) {
        let code = reply::code(headers).unwrap_or(Code::Unknown);
        let sent = || reply::reason(headers).map(reason_name);
        let reason = match code {
            Code::Ok => "",
            _ => sent().unwrap_or(""),
        };
        self.end = End { code: reply::code_name(code), reason };
    }

    fn log(&self) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "access",
                    method = %self.method.label,
                    backend = self.record.backend(),
                    code = self.end.code,
                    reason = self.end.reason,
                    duration_ms = self.started.elapsed().as_secs_f64() * 1e3,
                    upstream_calls = self.record.upstream_calls(),
                    cache = self.record.cache().map(|served| served.outcome.name()),
                    peer = self.peer.map(tracing::field::display),
                )
            };
        }
        match self.end.code {
            // Probes come every few seconds, for ever.
            _ if self.method.probe => line!(debug),
            "INTERNAL" | "UNKNOWN" | "DATA_LOSS" => line!(error),
            "UNAVAILABLE" | "RESOURCE_EXHAUSTED" | "DEADLINE_EXCEEDED" => line!(warn),
            _ => line!(info),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let End { code, reason } = self.end;
        self.metrics.call_finished(&self.method.label, code, reason, self.started.elapsed());
        self.log();
    }
}

struct Watched(Option<Running>);

impl Step for Watched {
    fn poll(&mut self, body: Pin<&mut Body>, cx: &mut Context<'_>) -> Polled {
        let frame = ready!(body.poll_frame(cx));
        let over = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
        if let Some(mut call) = self.0.take_if(|_| over) {
            let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref());
            call.ended(trailers.unwrap_or(&HeaderMap::new()));
        }
        Poll::Ready(frame)
    }
}
