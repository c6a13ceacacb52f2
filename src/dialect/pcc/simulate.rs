//! Fake replies of the upstream to successful writes, for writes that are not sent.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::upstream::{Reply, Request};

/// A new profile, with an id that no counter reaches.
const NEW: &[u8] = br#"{"id":9999999999999999999}"#;

pub(super) fn simulate(request: &Request) -> Reply {
    let (status, body) = match request.method {
        Method::POST => (StatusCode::CREATED, Bytes::from_static(NEW)),
        _ => (StatusCode::NO_CONTENT, Bytes::new()),
    };
    Reply::new(status, HeaderMap::new(), body)
}
