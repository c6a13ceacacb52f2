//! Access to PCC: one user by HTTP Basic, and the tenant in its own header.
//!
//! Documented: both are mandatory with every request, and a wrong user or password is 401.
//! Inferred: 400 without a tenant, 403 for an unknown tenant, and that the user is checked first.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};

use super::wire::Refusal;
use crate::options::Options;

pub(super) fn check(options: &Options, headers: &HeaderMap) -> Result<(), Refusal> {
    let expected = format!("{}:{}", options.pcc_username, options.pcc_password);
    if basic(headers) != Some(expected.into_bytes()) {
        return Err(Refusal::Status(StatusCode::UNAUTHORIZED));
    }
    match headers.get("tenant") {
        None => Err(Refusal::Status(StatusCode::BAD_REQUEST)),
        Some(tenant) if tenant.as_bytes() == options.pcc_tenant.as_bytes() => Ok(()),
        Some(_) => Err(Refusal::Status(StatusCode::FORBIDDEN)),
    }
}

/// `username:password` of the request.
fn basic(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    STANDARD.decode(encoded.trim()).ok()
}
