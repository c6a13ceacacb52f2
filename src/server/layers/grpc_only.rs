//! Responds to requests that are not gRPC with a text that helps someone with a browser or curl.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::service::Service;
use tonic::body::Body;

use super::{body::Answer, passing::Passing};

const SPOKEN: &str = "this port speaks gRPC (content-type application/grpc); \
                      `buf curl` and `grpcurl` can list its services by reflection\n";

/// Passes gRPC on.
pub(crate) struct GrpcOnly<S> {
    pub inner: S,
}

impl<S, B, A> Service<Passing<B>> for GrpcOnly<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<A>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<A>, Infallible>>>;

    fn call(&self, passing: Passing<B>) -> Self::Future {
        if is_grpc(passing.request.headers()) {
            return Either::Left(self.inner.call(passing));
        }
        let mut response = Response::new(A::from(Body::new(Full::from(SPOKEN))));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        Either::Right(ready(Ok(response)))
    }
}

/// `application/grpc`, `application/grpc+proto`, `application/grpc;…`; not gRPC-Web.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.strip_prefix("application/grpc"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_is_grpc() {
        let is = |value: &'static str| {
            let value = http::HeaderValue::from_static(value);
            is_grpc(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        assert!(is("application/grpc"));
        assert!(is("application/grpc+proto"));
        assert!(!is("application/grpc-web+proto"));
        assert!(!is("application/json"));
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
