//! The answers of the upstream to writes that succeed, for writes that are not sent.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::LOCATION};

use crate::upstream::{Reply, Request};

/// Where a new profile is; its id is the largest that there can be.
const NEW: &str = "/api/v1/service_profile/9223372036854775807";

pub(super) fn simulate(request: &Request) -> Reply {
    let mut headers = HeaderMap::new();
    let status = match request.method {
        Method::POST => {
            headers.insert(LOCATION, HeaderValue::from_static(NEW));
            StatusCode::CREATED
        }
        _ => StatusCode::NO_CONTENT,
    };
    Reply::new(status, headers, Bytes::new())
}
