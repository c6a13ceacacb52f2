//! Gives every status that tonic made by itself the gateway's vocabulary: an `ErrorInfo`, and a code
//! that says what happened.
//!
//! Leaves alone what the gateway made: that carries details already.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use http::HeaderMap;
use http_body::Body as _;
use tonic::{Code, Status};

use super::{
    body::{Polled, Step, wrap},
    methods::Method,
    reply,
};
use crate::error::{Kind, Reason};

/// Where a status stands. In the headers it is an answer to the request's bytes; in the trailers the
/// request was read and the answer had begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Headers,
    Trailers,
}

/// Rewrites the status in the answer's headers or trailers.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let method = Method::of(&request);
    let path: String = request.uri().path().chars().take(128).collect();
    let mut response = next.run(request).await;
    if reply::code(response.headers()).is_some() {
        normalize(response.headers_mut(), Place::Headers, &method, &path);
        return response;
    }
    wrap(response, Trailers { method, path })
}

struct Trailers {
    method: Arc<Method>,
    path: String,
}

impl Step for Trailers {
    fn poll(&mut self, body: Pin<&mut Body>, cx: &mut Context<'_>) -> Polled {
        let mut frame = ready!(body.poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            normalize(trailers, Place::Trailers, &self.method, &self.path);
        }
        Poll::Ready(frame)
    }
}

fn normalize(headers: &mut HeaderMap, place: Place, method: &Method, path: &str) {
    let bare = !headers.contains_key(reply::GRPC_DETAILS);
    let Some(status) = Status::from_header_map(headers).filter(|_| bare) else { return };
    if status.code() == Code::Ok {
        return;
    }
    let (reason, kind) = meaning(status.code(), place);
    let said: String = status.message().chars().take(256).collect();
    let message = match reason {
        // gRPC's compression specification wants this code, and the header that lists what is known.
        Reason::OperationNotSupported if headers.contains_key("grpc-accept-encoding") => said,
        Reason::OperationNotSupported if kind == Kind::Unimplemented => {
            format!("there is no method {path:?}")
        }
        Reason::MalformedRequest => format!("the request cannot be read: {said}"),
        Reason::MessageTooLarge => format!("message too large: {said}"),
        _ if said.is_empty() => format!("the call ended with {}", reply::code_name(status.code())),
        _ => said,
    };
    // Probes and tools know the codes of their own protocols.
    let kind = if method.probe { same_kind(status.code()) } else { kind };
    reply::write(&reply::error(method, reason, message).with_kind(kind), headers);
}

/// What a status without details means here. Handlers never make such a status, so each comes from
/// tonic, whose reasons for a code are few.
fn meaning(code: Code, place: Place) -> (Reason, Kind) {
    let reason = match code {
        // The decoding limit, the encoding limit, and the limit after decompression.
        Code::OutOfRange | Code::ResourceExhausted => {
            return (Reason::MessageTooLarge, Kind::ResourceExhausted);
        }
        // Protobuf that cannot be decoded, a broken frame, a compression flag without compression.
        Code::Internal if place == Place::Headers => {
            return (Reason::MalformedRequest, Kind::InvalidArgument);
        }
        Code::InvalidArgument => Reason::MalformedRequest,
        Code::Unimplemented | Code::NotFound => Reason::OperationNotSupported,
        Code::Cancelled => Reason::CallerCancelled,
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
