//! Responds to what is not a gRPC call with a text that helps someone with a browser or curl.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use futures_util::future::Either;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::service::Service;
use tonic::body::Body;

use super::{body::Answer, media_type, passing::Passing};

const SPOKEN: &str = "this port speaks gRPC (content-type application/grpc); \
                      `buf curl` and `grpcurl` can list its services by reflection\n";
const WEB_IS_OFF: &str = "gRPC-Web is off on this port: set `grpc_web = true` in `[server]`\n";
const WEB_TEXT: &str = "this port speaks gRPC-Web in its binary form only \
                        (application/grpc-web+proto); another form is for a proxy to translate\n";
const ONLY_POST: &str = "gRPC calls are POST requests\n";
const ONLY_HTTP2: &str = "gRPC needs HTTP/2, without which its status is lost; nothing was done. \
                          A proxy in between must use HTTP/2 to reach this port\n";

/// Passes gRPC on.
pub(crate) struct GrpcOnly<S> {
    pub inner: S,
    /// Whether gRPC-Web is served too.
    pub web: bool,
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
        match Refusal::of(&passing, self.web) {
            None => Either::Left(self.inner.call(passing)),
            Some(refusal) => Either::Right(ready(Ok(refusal.response(passing.request.method())))),
        }
    }
}

/// Why a request is not a gRPC call.
enum Refusal {
    NotGrpc,
    /// gRPC-Web while it is off.
    WebIsOff,
    /// gRPC-Web in a form that is not served.
    WebText,
    NotPost,
    /// HTTP/1.1 can carry trailers, but hardly any client or proxy passes them on: the caller would
    /// not learn that the call succeeded, and would repeat it.
    NotHttp2,
}

impl Refusal {
    fn of<B>(passing: &Passing<B>, web: bool) -> Option<Self> {
        let request = &passing.request;
        if !is_grpc(request.headers()) {
            Some(match is_web(request.headers()) {
                true if web => Self::WebText,
                true => Self::WebIsOff,
                false => Self::NotGrpc,
            })
        } else if request.method() != Method::POST {
            Some(Self::NotPost)
        } else if request.version() != Version::HTTP_2 && !passing.web {
            Some(Self::NotHttp2)
        } else {
            None
        }
    }

    fn response<A: From<Body>>(&self, method: &Method) -> Response<A> {
        let (status, text) = match self {
            Self::NotGrpc => (StatusCode::UNSUPPORTED_MEDIA_TYPE, SPOKEN),
            Self::WebIsOff => (StatusCode::UNSUPPORTED_MEDIA_TYPE, WEB_IS_OFF),
            Self::WebText => (StatusCode::UNSUPPORTED_MEDIA_TYPE, WEB_TEXT),
            Self::NotPost => (StatusCode::METHOD_NOT_ALLOWED, ONLY_POST),
            Self::NotHttp2 => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, ONLY_HTTP2),
        };
        let body = match *method {
            Method::HEAD => Body::empty(),
            _ => Body::new(Full::from(text)),
        };
        let mut response = Response::new(A::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let mut say = |name: HeaderName, value| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        say(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        if matches!(self, Self::NotPost) {
            say(header::ALLOW, "POST");
        }
        response
    }
}

/// gRPC with Protobuf messages, the only encoding that is served here.
fn is_grpc(headers: &HeaderMap) -> bool {
    media_type::is(headers, ["application/grpc", "application/grpc+proto"])
}

/// gRPC-Web in any form and encoding. What of it is served has become gRPC further out.
fn is_web(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let begins = |prefix: &[u8]| {
        value.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    begins(b"application/grpc-web")
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
        assert!(is("Application/gRPC"));
        assert!(is("application/grpc ; charset=utf-8"));
        assert!(is("application/grpc+proto;charset=utf-8"));
        assert!(!is("application/grpc+json"));
        assert!(!is("application/grpc-web+proto"));
        assert!(!is("application/json"));
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
