//! The vendor's error table for every operation.

use super::*;
use crate::{
    dialect::recorder::reply,
    error::Kind,
    upstream::{Reply, Safety},
};
use Operation::{
    AddLimit, AddService, Catalog, CatalogLimits, Create, Delete, Get, List, Patch, RemoveLimit,
    RemoveService,
};

const READS: [Operation; 4] = [List, Get, Catalog, CatalogLimits];
const WRITES: [Operation; 7] =
    [Create, Patch, Delete, AddService, RemoveService, AddLimit, RemoveLimit];

fn outcome(operation: Operation, reply: &Reply) -> Error {
    if READS.contains(&operation) {
        fault::read(operation, reply, |_| Ok(())).unwrap_err()
    } else {
        fault::written(operation, reply).unwrap_err()
    }
}

fn answer(status: u16, code: Option<i64>, message: &str) -> Reply {
    let mut body = json!({"message": message});
    if let Some(code) = code {
        body["error_code"] = json!(code);
    }
    reply(status, body.to_string())
}

/// The meaning of a row's replies, and what a write may have done.
type Row = (Reason, Kind, Effect, Vec<Reply>);

/// Rows with the same meaning for every operation: the request or the credentials are wrong.
fn client_errors() -> Vec<Row> {
    let mut html = reply(422, "");
    html.headers.insert("content-type", "text/html".parse().unwrap());
    let mut invalid = vec![answer(400, Some(1000), "x"), reply(400, ""), answer(400, None, "x")];
    invalid.push(answer(400, Some(1403), "x"));
    invalid.extend([1301, 1302, 1400, 1401, 1402, 1403].map(|code| answer(422, Some(code), "x")));
    let mut credentials =
        vec![reply(401, ""), answer(401, None, "token contains an invalid number")];
    credentials.extend([1101, 1102, 1103].map(|code| answer(401, Some(code), "x")));
    let refused = vec![
        html,
        answer(422, None, "quota"),
        answer(422, Some(1406), "x"),
        answer(400, Some(1406), "x"),
    ];
    let exhausted = vec![answer(404, Some(1601), "No IP Address available.")];
    let unknown =
        vec![answer(404, Some(4711), "x"), answer(422, Some(1502), "x"), answer(410, Some(1), "x")];
    let forbidden = vec![answer(403, Some(1104), "x"), reply(403, "")];
    let throttled = vec![answer(429, Some(1105), "x"), reply(429, "")];
    let no = Effect::None;
    vec![
        (Reason::ValidationFailed, Kind::InvalidArgument, no, invalid),
        (Reason::UpstreamAuthFailed, Kind::Internal, no, credentials),
        (Reason::UpstreamAccountLocked, Kind::Unavailable, no, vec![answer(401, Some(1105), "x")]),
        (Reason::UpstreamPermissionDenied, Kind::PermissionDenied, no, forbidden),
        (Reason::ProcessingFailed, Kind::FailedPrecondition, no, refused),
        (Reason::ProcessingFailed, Kind::FailedPrecondition, Effect::Unconfirmed, exhausted),
        (Reason::UpstreamFailure, Kind::Unknown, Effect::Unconfirmed, unknown),
        (Reason::UpstreamThrottled, Kind::ResourceExhausted, no, throttled),
    ]
}

/// Rows with the same meaning for every operation: the upstream or a proxy failed.
fn other_errors() -> Vec<Row> {
    let page = "<html><body>Bad Request</body></html>";
    let foreign = vec![
        reply(400, page),
        reply(400, "Bad Request"),
        reply(422, page),
        reply(404, ""),
        reply(404, page),
        answer(404, None, "Not Found"),
        reply(405, ""),
    ];
    let odd = vec![reply(302, ""), reply(303, "")];
    let beyond = vec![answer(501, Some(1000), "x")];
    let down = vec![
        reply(408, ""),
        answer(499, Some(1406), "x"),
        reply(502, page),
        reply(503, ""),
        reply(504, ""),
        reply(524, page),
    ];
    let fault = vec![reply(500, ""), answer(500, Some(9), "x")];
    vec![
        (Reason::UpstreamContractViolation, Kind::Internal, Effect::Unconfirmed, foreign),
        (Reason::UpstreamContractViolation, Kind::Internal, Effect::Unknown, odd),
        (Reason::UpstreamInternal, Kind::Internal, Effect::Unknown, beyond),
        (Reason::UpstreamUnavailable, Kind::Unavailable, Effect::Unknown, down),
        (Reason::UpstreamInternal, Kind::Internal, Effect::Unconfirmed, fault),
    ]
}

#[test]
fn errors_with_the_same_meaning_for_every_operation() {
    for (reason, kind, on_write, answers) in client_errors().into_iter().chain(other_errors()) {
        for (operation, answer) in
            READS.into_iter().chain(WRITES).flat_map(|o| answers.iter().map(move |a| (o, a)))
        {
            let error = outcome(operation, answer);
            let effect = if READS.contains(&operation) { Effect::None } else { on_write };
            let at = format!("{operation:?} {answer:?}");
            let found = (error.reason(), error.kind(), error.effect());
            assert_eq!(found, (reason, kind, effect), "{at}");
            assert_eq!(error.upstream().unwrap().status, Some(answer.status.as_u16()), "{at}");
            assert!(!error.message().contains('<'), "{at}");
            let violated = reason == Reason::ValidationFailed && WRITES.contains(&operation);
            assert_eq!(!error.violations().is_empty(), violated, "{at}");
        }
    }
}

#[test]
fn conflicts_and_missing_objects_depend_on_the_operation() {
    use Reason::{
        ProcessingFailed, ProfileAlreadyExists, ProfileInUse, ProfileNotFound,
        ServiceAlreadyAttached, ServiceHasTrafficLimits, ServiceNotAttached,
        TrafficLimitAlreadyAttached, TrafficLimitNotFound, ValidationFailed,
    };
    let profile = "Service profile with Id '1' not found.";
    for (operation, status, code, message, reason) in [
        (Create, 409, Some(1405), "", ProfileAlreadyExists),
        (Create, 422, Some(1405), "", ProfileAlreadyExists),
        (Create, 409, Some(1406), "", ProcessingFailed),
        (Patch, 409, Some(1405), "", ProfileAlreadyExists),
        (Delete, 409, None, "", ProfileInUse),
        (Delete, 409, Some(1405), "", ProfileInUse),
        (Delete, 409, Some(1406), "Service profile with Id '1' is in use.", ProfileInUse),
        (AddService, 409, None, "", ServiceAlreadyAttached),
        (AddService, 409, Some(1405), "", ServiceAlreadyAttached),
        (AddService, 409, Some(9999), "", ServiceAlreadyAttached),
        (AddService, 409, Some(1406), "", ProcessingFailed),
        (RemoveService, 409, None, "", ServiceHasTrafficLimits),
        (RemoveService, 409, Some(1406), "", ServiceHasTrafficLimits),
        (AddLimit, 409, Some(1405), "", TrafficLimitAlreadyAttached),
        (AddLimit, 409, Some(1406), "", ProcessingFailed),
        (Get, 404, Some(1201), "service_profile with id 1 not found", ProfileNotFound),
        (Get, 404, Some(1401), profile, ProfileNotFound),
        (Patch, 404, Some(1201), "", ProfileNotFound),
        (Patch, 404, Some(1401), profile, ProfileNotFound),
        (Patch, 404, Some(1401), "Api callback with Id '9' not found.", ValidationFailed),
        (Create, 404, Some(1401), "Dns with Id '9' not found.", ValidationFailed),
        (Delete, 404, Some(1201), "", ProfileNotFound),
        (Delete, 404, Some(1401), profile, ProfileNotFound),
        (AddService, 404, Some(1401), profile, ProfileNotFound),
        (AddService, 404, Some(1201), "Service with Id '9' not found.", ValidationFailed),
        (RemoveService, 404, Some(1201), "", ServiceNotAttached),
        (RemoveService, 404, Some(1401), profile, ProfileNotFound),
        (AddLimit, 404, Some(1201), "", TrafficLimitNotFound),
        (AddLimit, 404, Some(1401), "Traffic limit with Id '9' not found.", TrafficLimitNotFound),
        (AddLimit, 404, Some(1401), "Service with Id '9' not found.", ServiceNotAttached),
        (AddLimit, 404, Some(1401), profile, ProfileNotFound),
        (RemoveLimit, 404, Some(1201), "", TrafficLimitNotFound),
    ] {
        let error = outcome(operation, &answer(status, code, message));
        let at = format!("{operation:?} {status} {code:?} {message}");
        assert_eq!((error.reason(), error.effect()), (reason, Effect::None), "{at}");
        assert_eq!(error.upstream().unwrap().code, code.map(|code| code.to_string()), "{at}");
    }
}

#[test]
fn conflicts_that_no_table_has_are_read_back() {
    use Reason::{ProfileAlreadyExists, TrafficLimitAlreadyAttached};
    for (operation, code, reason) in [
        (Create, None, ProfileAlreadyExists),
        (Patch, None, ProfileAlreadyExists),
        (AddLimit, None, TrafficLimitAlreadyAttached),
        (Create, Some(9999), Reason::UpstreamFailure),
        (Patch, Some(9999), Reason::UpstreamFailure),
        (AddLimit, Some(9999), Reason::UpstreamFailure),
        (RemoveLimit, Some(9999), Reason::UpstreamFailure),
    ] {
        let error = outcome(operation, &answer(409, code, ""));
        let at = format!("{operation:?} {code:?}");
        assert_eq!((error.reason(), error.effect()), (reason, Effect::Unconfirmed), "{at}");
    }
}

#[test]
fn complaints_about_fields_have_our_paths() {
    for (message, path) in [
        ("ServiceProfile - name is required", "profile.display_name"),
        (
            "ServiceProfile - allowed_3g has invalid format: Expecting Boolean",
            "profile.radio_access",
        ),
        ("Service Profile - api_callback.id has invalid format", "profile.callbacks.api"),
        ("Invalid reference to api_secret with id 9", "profile.callbacks.api_secret"),
        ("Breakout Region with Id '9' not found.", "profile.network.breakout_region"),
        ("ServiceProfile - prepaid is required", "profile.payment_type"),
        ("ServiceProfile - shoe_size is required", "profile"),
        ("no idea", "profile"),
    ] {
        let mut body = error_body(1400, "Validation failed");
        body["errors"] = json!([{"error_code": 1402, "message": message}]);
        for body in [body, error_body(1402, message)] {
            let error = outcome(Create, &reply(422, body.to_string()));
            assert_eq!(fields(&error), [path], "{message}");
            assert_eq!(error.violations()[0].description, message);
            assert!(error.message().contains(message));
        }
    }
    let body = json!({"error_code": "1400", "errors": [{"message": "P - name is required"},
        {"message": "P - dns is required"}, {"message": 5}, 7]});
    let error = outcome(Patch, &reply(422, body.to_string()));
    assert_eq!(fields(&error), ["profile", "profile.display_name", "profile.network.dns"]);
    let error = outcome(AddLimit, &answer(422, Some(1401), "x"));
    assert_eq!(fields(&error), ["profile.services"]);
}

#[test]
fn only_a_documented_answer_is_a_success() {
    for operation in WRITES {
        for status in [200, 201, 204] {
            for body in ["", "{}", " \n", "[]", "null", r#"{"id": 1}"#] {
                let written = fault::written(operation, &reply(status, body));
                let is_documented = operation != Delete || status == 204;
                assert_eq!(written.is_ok(), is_documented, "{operation:?} {status} {body}");
            }
        }
        assert_eq!(outcome(operation, &reply(202, "")).effect(), Effect::Unknown);
        let message = r#"{"message": "Internal server error"}"#;
        for body in ["<html></html>", "OK", r#"{"error_code": 1000}"#, "{", message] {
            let error = outcome(operation, &reply(200, body));
            assert_eq!(
                (error.reason(), error.effect()),
                (Reason::UpstreamContractViolation, Effect::Unknown),
                "{body}"
            );
        }
    }
}

#[test]
fn every_operation_sends_the_right_request() {
    // The table above is by operation; these are the operations' requests.
    for (request, safety, line) in [
        (encode::list(), Safety::Read, "GET /api/v1/service_profile"),
        (encode::get("1"), Safety::Read, "GET /api/v1/service_profile/1"),
        (encode::delete("1"), Safety::Write, "DELETE /api/v1/service_profile/1"),
        (encode::add_service("1", "2"), Safety::Write, "PUT /api/v1/service_profile/1/service/2"),
        (
            encode::remove_limit("1", "2", "3/.."),
            Safety::Write,
            "DELETE /api/v1/service_profile/1/service/2/traffic_limit/3%2F%2E%2E",
        ),
        (encode::catalog(), Safety::Read, "GET /api/v1/service"),
        (encode::catalog_limits("2"), Safety::Read, "GET /api/v1/service/2/traffic_limit"),
    ] {
        assert_eq!(format!("{} {}", request.method, request.path), line);
        assert_eq!(request.safety, safety, "{line}");
    }
}
