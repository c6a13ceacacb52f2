//! Keeps pages in a browser from controlling the sandbox.
//!
//! A page of any site can send requests to this machine, and a browser asks first only about those
//! that no form could send. So a body has to be declared as JSON, which no form sends, and the page
//! that a browser names as the origin has to be one of this machine.

use std::net::IpAddr;

use axum::{body::HttpBody as _, extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, StatusCode, header};

use super::reply::ControlError;

/// Passes on what may control the sandbox.
pub(super) async fn own(request: Request, next: Next) -> Result<Response, ControlError> {
    if !is_from_here(request.headers()) {
        return Err(ControlError {
            status: StatusCode::FORBIDDEN,
            error: "a page of another origin cannot control the sandbox".to_owned(),
        });
    }
    if !request.body().is_end_stream() && !is_json(request.headers()) {
        return Err(ControlError {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            error: "a body needs `content-type: application/json`; curl sends it with --json"
                .to_owned(),
        });
    }
    Ok(next.run(request).await)
}

/// Whether no browser says that the request is of a page from elsewhere.
fn is_from_here(headers: &HeaderMap) -> bool {
    let foreign_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let origins = headers.get_all(header::ORIGIN).iter();
    !foreign_site && origins.map(|origin| origin.as_bytes()).all(is_own)
}

/// An origin of this machine, or of an address, which no name can stand for.
fn is_own(origin: &[u8]) -> bool {
    let uri = std::str::from_utf8(origin).ok().and_then(|origin| origin.parse::<http::Uri>().ok());
    let Some(host) = uri.as_ref().and_then(http::Uri::host) else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_own_by_its_address_or_as_localhost() {
        for own in
            ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "http://10.0.0.1"]
        {
            assert!(is_own(own.as_bytes()), "{own}");
        }
        for foreign in ["null", "", "http://evil.example", "http://127.0.0.1.evil.example", "*"] {
            assert!(!is_own(foreign.as_bytes()), "{foreign}");
        }
    }
}
