//! Gives every status that tonic made by itself the gateway's vocabulary: an `ErrorInfo`, a code
//! that says what happened, and a message in the gateway's own words. Adds the id of the call to
//! every status, and bounds the headers and trailers of all responses.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Response};
use hyper::service::Service;
use pin_project_lite::pin_project;
use tonic::{Code, Status};

use super::{
    body::{Answer, Polled, Step, Stepped, bare, wrap},
    methods::{MAX_PROBE_BYTES, Method},
    passing::Passing,
    reply,
};
use crate::{
    call::CallRecord,
    error::{Error, Kind, Reason},
    rpc::{
        self, compression,
        status::{Repeated, header_bytes},
    },
    text::{self, quoted},
};

/// The part of a response that has the status. In the headers, it is about the bytes of the
/// request; in the trailers, the request was read and the response had begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Headers,
    Trailers,
}

/// What `:status` and `date` take, which are added when a response is sent.
const ADDED_BYTES: usize = 128;

/// Rewrites the status in the response's headers or trailers.
pub(crate) struct Normalize<S> {
    pub inner: S,
    pub limits: Limits,
}

/// Limits that a status is about.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Largest request message, in bytes.
    pub request: usize,
    /// Headers and trailers of a response together, in bytes as HTTP/2 counts them.
    pub response_metadata: usize,
}

impl<S, B, A> Service<Passing<B>> for Normalize<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<Stepped<Asked, A>>;
    type Error = Infallible;
    type Future = Normalizing<S::Future>;

    fn call(&self, passing: Passing<B>) -> Self::Future {
        let method = Arc::clone(&passing.method);
        // The path of a known method is its label.
        let path = method.name.is_empty().then(|| passing.request.uri().path());
        let path = path.map(|path| path.chars().take(128).collect());
        let asked =
            Asked { method, path, record: Arc::clone(&passing.record), limits: self.limits };
        Normalizing { inner: self.inner.call(passing), asked: Some(asked) }
    }
}

pin_project! {
    /// A call whose status will be checked.
    pub(crate) struct Normalizing<F> {
        #[pin]
        inner: F,
        asked: Option<Asked>,
    }
}

impl<F, A> Future for Normalizing<F>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Asked, A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.inner.poll(cx));
        // Taken once: a future that is complete is not polled again.
        let Some(mut asked) = this.asked.take() else { return Poll::Ready(Ok(bare(response))) };
        if reply::code(response.headers()).is_some() {
            let made = response.extensions_mut().get::<Arc<Repeated>>().cloned();
            normalize(response.headers_mut(), Part::Headers, &asked, made);
            return Poll::Ready(Ok(bare(response)));
        }
        asked.use_up(header_bytes(response.headers()));
        Poll::Ready(Ok(wrap(response, asked)))
    }
}

/// What the caller asked for, to name it in a status.
pub(crate) struct Asked {
    method: Arc<Method>,
    /// The path, if the method is not known.
    path: Option<String>,
    record: Arc<CallRecord>,
    limits: Limits,
}

impl Asked {
    /// The headers were sent: the trailers have that much less room.
    fn use_up(&mut self, bytes: usize) {
        let room = &mut self.limits.response_metadata;
        *room = room.saturating_sub(bytes);
    }

    /// The refusal that a status is, if it may come again and again: of a service, which leaves it
    /// to be written here, or of a layer.
    fn refusal(&self, headers: &HeaderMap) -> Option<Arc<Repeated>> {
        match (self.record.told(), headers.get(reply::GRPC_DETAILS)) {
            (Some(error), None) => rpc::status::repeated(error),
            (None, Some(details)) => rpc::status::with_details(details),
            _ => None,
        }
    }

    fn no_such_method(&self) -> String {
        match &self.path {
            Some(path) => format!("unknown method {path:?}"),
            None => format!("unknown method \"/{}\"", self.method.label),
        }
    }
}

impl Step for Asked {
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        let mut frame = ready!(body.poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            normalize(trailers, Part::Trailers, self, None);
        }
        Poll::Ready(frame)
    }
}

/// `made` is the refusal, where the layer that made the response says it.
fn normalize(headers: &mut HeaderMap, part: Part, asked: &Asked, made: Option<Arc<Repeated>>) {
    // Only the code at first: parsing the whole status would slow down every successful call.
    if reply::code(headers) == Some(Code::Ok) {
        return;
    }
    let room = asked.limits.response_metadata.saturating_sub(ADDED_BYTES);
    let refusal = made.or_else(|| asked.refusal(headers));
    if let Some(refusal) = &refusal {
        if refusal.write(asked.record.id(), room, headers) {
            return;
        }
        reply::write_status(refusal.status(), headers);
    }
    if !headers.contains_key(reply::GRPC_DETAILS)
        && let Some(status) = Status::from_header_map(headers)
    {
        let error = explained(&status, part, asked);
        tracing::debug!(target: "rpc", %error, original = status.message(), "a library's status");
        reply::write(&error, headers);
    }
    // Most statuses have the id from where they were made.
    let is_told = refusal.is_none() && asked.record.told().is_some();
    let has_id = is_told && header_bytes(headers) <= room;
    if !has_id {
        bound(headers, room.saturating_sub(rpc::status::CALL_ID_BYTES));
    }
    let Some(details) = headers.get_mut(reply::GRPC_DETAILS) else { return };
    if !has_id && let Some(named) = rpc::status::of_call(details, asked.record.id()) {
        *details = named;
    }
    // HTTP/2 keeps what it sent, to send it shorter the next time. These are never sent again, and
    // would drive out all that is.
    details.set_sensitive(true);
}

/// Shortens the status until all headers together fit.
fn bound(headers: &mut HeaderMap, room: usize) {
    let all = header_bytes(headers);
    if all > room
        && let Some(status) = Status::from_header_map(headers)
    {
        let others = all - reply::status_bytes(headers);
        reply::write_status(&rpc::status::fitted(&status, room.saturating_sub(others)), headers);
    }
}

/// The error that a library's status stands for.
fn explained(status: &Status, part: Part, asked: &Asked) -> Error {
    let (reason, kind) = meaning(status.code(), part);
    let original = status.message();
    let message = match reason {
        Reason::OperationNotSupported if let Some(encoding) = unknown_encoding(original) => {
            // The code is the one that gRPC's compression specification requires.
            let (encoding, known) = (quoted(encoding), compression::names());
            format!("grpc-encoding {encoding} is not supported; use {known}, or identity")
        }
        Reason::OperationNotSupported if kind == Kind::Unimplemented => asked.no_such_method(),
        Reason::MalformedRequest => malformed(original),
        Reason::MessageTooLarge => {
            let limit = if asked.method.probe { MAX_PROBE_BYTES } else { asked.limits.request };
            format!("the request message is larger than the limit of {limit} bytes")
        }
        Reason::CallerCancelled => "the caller left before its request was complete".into(),
        _ => format!("the call failed with {}", reply::code_name(status.code())),
    };
    // Probes and tools expect the codes of their own protocols.
    let kind = if asked.method.probe { same_kind(status.code()) } else { kind };
    reply::error(&asked.method, reason, message).with_kind(kind)
}

/// The encoding in tonic's "Content is compressed with `x` which isn't supported".
fn unknown_encoding(original: &str) -> Option<&str> {
    let (encoding, _) = original.strip_prefix("Content is compressed with `")?.rsplit_once('`')?;
    Some(encoding)
}

/// What is wrong with the bytes of a request, in place of tonic's and prost's own texts.
fn malformed(original: &str) -> String {
    const PROST: &str = "failed to decode Protobuf message: ";
    let message = match original {
        text if let Some(what) = text.strip_prefix(PROST) => {
            let what = text::cut(what, 128);
            return format!("the request message is not valid Protobuf for this method: {what}");
        }
        text if text.contains("compressed-flag") => {
            "the request message is marked as compressed, and grpc-encoding names no encoding"
        }
        text if text.contains("compression flag") => {
            "the request message begins with an invalid compression flag, which must be 0 or 1"
        }
        text if text.starts_with("Error decompressing") => {
            "the request message cannot be decompressed"
        }
        "Missing request message." => "the request has no message",
        "Unexpected EOF decoding stream." => {
            "the request ended before the length that its message announces"
        }
        _ => "the request message cannot be decoded",
    };
    message.to_owned()
}

/// What a status without details means here. Handlers never make one, so it comes from tonic, which
/// has few reasons for each code.
fn meaning(code: Code, part: Part) -> (Reason, Kind) {
    let reason = match code {
        // The decoding limit, the encoding limit, and the limit after decompression.
        Code::OutOfRange | Code::ResourceExhausted => {
            return (Reason::MessageTooLarge, Kind::ResourceExhausted);
        }
        // Protobuf that cannot be decoded, a broken frame, a compression flag without compression.
        Code::Internal if part == Part::Headers => {
            return (Reason::MalformedRequest, Kind::InvalidArgument);
        }
        Code::InvalidArgument => Reason::MalformedRequest,
        Code::Unimplemented | Code::NotFound => Reason::OperationNotSupported,
        Code::Cancelled => Reason::CallerCancelled,
        // `rpc::status::broken_off`.
        Code::DataLoss => return (Reason::CallerCancelled, Kind::Cancelled),
        Code::DeadlineExceeded => Reason::DeadlineExceeded,
        Code::Unavailable => Reason::Overloaded,
        Code::Unauthenticated => Reason::CallerUnauthenticated,
        Code::PermissionDenied => Reason::CallerNotAllowed,
        _ => Reason::GatewayInternal,
    };
    (reason, same_kind(code))
}

fn same_kind(code: Code) -> Kind {
    match code {
        Code::Cancelled => Kind::Cancelled,
        Code::InvalidArgument => Kind::InvalidArgument,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::ResourceExhausted | Code::OutOfRange => Kind::ResourceExhausted,
        Code::FailedPrecondition => Kind::FailedPrecondition,
        Code::Aborted => Kind::Aborted,
        Code::Unimplemented => Kind::Unimplemented,
        Code::Internal | Code::DataLoss => Kind::Internal,
        Code::Unavailable => Kind::Unavailable,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::Ok | Code::Unknown => Kind::Unknown,
    }
}
