//! Answers whatever is not gRPC in words that a person with a browser or curl can use.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};

const SPOKEN: &str = "this port speaks gRPC (content-type application/grpc); \
                      `buf curl` and `grpcurl` can list its services by reflection\n";

/// Lets gRPC pass.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    if is_grpc(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, SPOKEN).into_response()
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
