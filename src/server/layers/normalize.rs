//! Gives every status that tonic made by itself the gateway's vocabulary: an `ErrorInfo`, and a
//! code that says what happened.
//!
//! Leaves the gateway's own statuses alone: they already have details.

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
    methods::Method,
    passing::Passing,
    reply,
};
use crate::error::{Kind, Reason};

/// The part of a response that has the status. In the headers, it is about the bytes of the
/// request; in the trailers, the request was read and the response had begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Headers,
    Trailers,
}

/// Rewrites the status in the response's headers or trailers.
pub(crate) struct Normalize<S> {
    pub inner: S,
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
        Normalizing { inner: self.inner.call(passing), asked: Some(Asked { method, path }) }
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
        let Some(asked) = this.asked.take() else { return Poll::Ready(Ok(bare(response))) };
        if reply::code(response.headers()).is_some() {
            normalize(response.headers_mut(), Part::Headers, &asked);
            return Poll::Ready(Ok(bare(response)));
        }
        Poll::Ready(Ok(wrap(response, asked)))
    }
}

/// What the caller asked for, to name it in a status.
pub(crate) struct Asked {
    method: Arc<Method>,
    /// The path, if the method is not known.
    path: Option<String>,
}

impl Asked {
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
            normalize(trailers, Part::Trailers, self);
        }
        Poll::Ready(frame)
    }
}

fn normalize(headers: &mut HeaderMap, part: Part, asked: &Asked) {
    // Only the code at first: parsing the whole status would slow down every successful call.
    if reply::code(headers) == Some(Code::Ok) || headers.contains_key(reply::GRPC_DETAILS) {
        return;
    }
    let Some(status) = Status::from_header_map(headers) else { return };
    let (reason, kind) = meaning(status.code(), part);
    let original: String = status.message().chars().take(256).collect();
    let message = match reason {
        // gRPC's compression specification requires this code, with the header that lists the known
        // encodings.
        Reason::OperationNotSupported if headers.contains_key("grpc-accept-encoding") => original,
        Reason::OperationNotSupported if kind == Kind::Unimplemented => asked.no_such_method(),
        Reason::MalformedRequest => format!("failed to decode the request: {original}"),
        Reason::MessageTooLarge => format!("message too large: {original}"),
        _ if original.is_empty() => {
            format!("the call failed with {}", reply::code_name(status.code()))
        }
        _ => original,
    };
    // Probes and tools expect the codes of their own protocols.
    let kind = if asked.method.probe { same_kind(status.code()) } else { kind };
    reply::write(&reply::error(&asked.method, reason, message).with_kind(kind), headers);
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
