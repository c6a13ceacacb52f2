//! A request for a backend, what a proxy adds to it, and how it is refused.

use profile_gateway::pb::GetBackendRequest;
use tonic::{Code, Request, Status};

use crate::kit::status::failure;

/// Where a proxy says whose certificate it saw.
pub const HEADER: &str = "x-forwarded-client-cert";

pub fn asked() -> GetBackendRequest {
    GetBackendRequest { name: "backends/sft".to_owned() }
}

pub fn saying(headers: &[&str]) -> Request<GetBackendRequest> {
    let mut request = Request::new(asked());
    for header in headers {
        request.metadata_mut().append(HEADER, header.parse().unwrap());
    }
    request
}

#[track_caller]
pub fn refused(result: Result<(), Status>, why: &str, what: &str) {
    let failure = failure(result);
    assert!(failure.is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED"), "{what}: {failure:#?}");
    assert_eq!(failure.meta("why"), why, "{what}");
}
