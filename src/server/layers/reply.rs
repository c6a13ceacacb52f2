//! How a layer responds to a call itself, and how it reads the status of a response.
//!
//! Makes no status: it hands errors to `rpc::status`.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Response};
use percent_encoding::percent_decode;
use tonic::{Code, Status, body::Body};

use super::methods::Method;
pub(crate) use crate::rpc::status::{GRPC_DETAILS, GRPC_MESSAGE, GRPC_STATUS, REFUSED_CALL};
use crate::{
    error::{Error, Reason, metadata},
    rpc,
};

/// A response that is only an error.
pub(crate) fn refuse<A: From<Body>>(error: &Error) -> Response<A> {
    rpc::status::status(error).into_http::<Body>().map(A::from)
}

/// Trailers that end a response with an error.
pub(crate) fn trailers(error: &Error) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    write(error, &mut trailers);
    trailers
}

/// Replaces the status in headers or trailers.
pub(crate) fn write(error: &Error, headers: &mut HeaderMap) {
    write_status(&rpc::status::status(error), headers);
}

/// Replaces the status in headers or trailers, which `rpc::status` made.
pub(crate) fn write_status(status: &Status, headers: &mut HeaderMap) {
    headers.remove(GRPC_MESSAGE);
    headers.remove(GRPC_DETAILS);
    if status.add_header(headers).is_err() {
        // Cannot happen: the message is percent-encoded. If it does, the code is sent alone.
        tracing::error!("a status cannot be written to headers");
    }
}

/// What the status takes of the size of headers or trailers.
pub(crate) fn status_bytes(headers: &HeaderMap) -> usize {
    let own = [GRPC_STATUS, GRPC_MESSAGE, GRPC_DETAILS];
    let own = own.into_iter().filter_map(|name| Some((headers.get(&name)?.clone(), name)));
    rpc::status::header_bytes(&own.map(|(value, name)| (name, value)).collect())
}

/// An error that a layer makes.
pub(crate) fn error(method: &Method, reason: Reason, message: impl Into<String>) -> Error {
    known(method, Error::new(reason, message))
}

/// An error of a call to this method.
pub(crate) fn known(method: &Method, error: Error) -> Error {
    if method.name.is_empty() {
        error
    } else {
        error.with_metadata(metadata::OPERATION, &*method.name)
    }
}

/// The code in headers or trailers, if they have a status.
pub(crate) fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// The reason in headers or trailers, from their `ErrorInfo`.
pub(crate) fn reason(headers: &HeaderMap) -> Option<Reason> {
    rpc::status::reason(headers.get(GRPC_DETAILS)?)
}

/// The message in a value of [`GRPC_MESSAGE`].
pub(crate) fn message(value: &HeaderValue) -> Cow<'_, str> {
    percent_decode(value.as_bytes()).decode_utf8_lossy()
}

/// The code's name in the gRPC specification.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
