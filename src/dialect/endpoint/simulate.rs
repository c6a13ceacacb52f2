//! Fake replies of the upstream to successful writes, for writes that are not sent.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::LOCATION};

use crate::upstream::{Reply, Request};

/// The location of a new profile; its id is the largest possible one.
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
