//! A failed call, decoded and checked against what is promised of every status.

use std::{collections::HashMap, fmt::Debug, time::Duration};

use profile_gateway::error::metadata::{CALL_ID, METADATA};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{SECRET, sandbox};

/// What a response may take in headers and trailers by default.
pub const MAX_SENT_BYTES: usize = 3000;

/// A status with its details.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub reason: String,
    pub message: String,
    /// All but the id of the call, which no other call has.
    pub metadata: HashMap<String, String>,
    /// Fields of `BadRequest`, in order.
    pub fields: Vec<String>,
    pub retry: Option<Duration>,
    /// Name in `ResourceInfo`.
    pub resource: Option<String>,
    /// Types in `PreconditionFailure`.
    pub preconditions: Vec<String>,
}

impl Failure {
    /// What tables compare.
    pub fn is(&self, code: Code, reason: &str) -> bool {
        self.code == code && self.reason == reason
    }

    /// A metadatum, or nothing.
    pub fn meta(&self, key: &str) -> &str {
        self.metadata.get(key).map_or("", String::as_str)
    }
}

/// The failure of a call. Panics when it succeeded, or when the status breaks a promise made for
/// all.
#[track_caller]
pub fn failure<T: Debug>(result: Result<T, Status>) -> Failure {
    let status = result.expect_err("the call succeeded");
    let details = status.get_error_details();
    let Some(info) = details.error_info() else { panic!("no ErrorInfo: {status:?}") };
    assert_eq!(info.domain, "profile-gateway");
    assert!(info.metadata.contains_key("operation"), "no operation: {status:?}");
    let mut metadata = info.metadata.clone();
    // That of a refusal is in a header too, and in a flood there alone.
    let header = status.metadata().get("x-call-id").map(|id| id.to_str().unwrap().to_owned());
    let call_id = metadata.remove(CALL_ID).or(header).unwrap_or_default();
    assert_eq!(call_id.len(), 16, "no id of the call: {status:?}");
    for key in info.metadata.keys() {
        assert!(METADATA.iter().any(|(known, ..)| known == key), "{key} is not documented");
    }
    assert!(status.message().len() <= 512, "message of {} bytes", status.message().len());
    let sent = sent_bytes(&status);
    assert!(sent <= MAX_SENT_BYTES, "{sent} bytes of headers and trailers: {status:?}");
    assert_clean(&status);
    let violations = details.bad_request().map(|b| b.field_violations.clone()).unwrap_or_default();
    let preconditions =
        details.precondition_failure().map(|p| p.violations.clone()).unwrap_or_default();
    Failure {
        code: status.code(),
        reason: info.reason.clone(),
        message: status.message().to_owned(),
        metadata,
        fields: violations.into_iter().map(|v| v.field).collect(),
        retry: details.retry_info().and_then(|retry| retry.retry_delay),
        resource: details.resource_info().map(|resource| resource.resource_name.clone()),
        preconditions: preconditions.into_iter().map(|v| v.r#type).collect(),
    }
}

/// What a status takes in headers and trailers as they are sent, with what was sent beside it.
pub fn sent_bytes(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).unwrap();
    // A colon, a space and the end of a line, as a proxy may write them for HTTP/1.1.
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// The failure, which must have this code and reason.
#[track_caller]
pub fn fails<T: Debug>(result: Result<T, Status>, code: Code, reason: &str) -> Failure {
    let failure = failure(result);
    assert!(failure.is(code, reason), "{code:?} {reason} expected, got {failure:#?}");
    failure
}

#[track_caller]
fn assert_clean(status: &Status) {
    let details = String::from_utf8_lossy(status.details());
    let whole = format!("{} {details} {:?}", status.message(), status.metadata());
    let lower = whole.to_lowercase();
    for never in [SECRET, sandbox::PASSWORD, "<html", "<!doctype", "<body"] {
        assert!(!lower.contains(&never.to_lowercase()), "{never} in {whole}");
    }
}
