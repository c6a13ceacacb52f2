//! The endpoint API's wire: refusals with their codes and bodies, and the short view of lists.

use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::{Value, json};

use super::switches::Switches;
use crate::{answer::Answer, simulator::Outcome, store::Members};

pub(super) const BAD_REQUEST: u32 = 1000;
pub(super) const TOKEN_EXPIRED: u32 = 1103;
pub(super) const FORBIDDEN: u32 = 1104;
pub(super) const TOO_MANY_REQUESTS: u32 = 1105;
pub(super) const NOT_FOUND: u32 = 1201;
pub(super) const VALIDATION_FAILED: u32 = 1400;
pub(super) const INVALID_REFERENCE: u32 = 1401;
pub(super) const REQUIRED: u32 = 1402;
pub(super) const INVALID_FORMAT: u32 = 1403;
pub(super) const DUPLICATED: u32 = 1405;
pub(super) const NOT_ALLOWED: u32 = 1406;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Members of the short view ("L" in the documents' tables).
const SHORT: [&str; 10] = [
    "id",
    "name",
    "description",
    "allowed_3g",
    "allowed_4g",
    "allowed_nb_iot",
    "allowed_nb_iot_geo",
    "apply_data_quota",
    "apply_sms_quota",
    "ip_firewall_rule_set",
];

/// Why a request was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No such object under the path.
    Missing {
        what: &'static str,
        id: i64,
    },
    /// The vendor's error body.
    Error {
        status: StatusCode,
        code: u32,
        message: String,
    },
    /// 422 with one or more errors inside.
    Invalid(Vec<Invalid>),
    /// No body at all.
    Empty(StatusCode),
    /// Observed: some 422 answers have no body but declare HTML.
    EmptyPage,
    /// Refused by the vendor's gateway before the application, in that gateway's words (observed).
    Gateway {
        error_type: &'static str,
        message: &'static str,
    },
    Throttled,
}

/// One error of a validation.
#[derive(Debug)]
pub(super) struct Invalid {
    pub code: u32,
    pub message: String,
}

impl Refusal {
    pub(super) fn error(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self::Error { status, code, message: message.into() }
    }

    pub(super) fn outcome(self, switches: &Switches) -> Outcome {
        let (answer, code) = match self {
            Self::Missing { what, id } => missing(what, id, switches.not_found_code),
            Self::Error { status, code, message } => {
                (Answer::json(status, error(code, &message)), Some(code))
            }
            Self::Invalid(errors) => invalid(errors, switches.format_errors_nested),
            Self::Empty(status) => (Answer::empty(status), None),
            Self::EmptyPage => {
                let mut answer = Answer::empty(StatusCode::UNPROCESSABLE_ENTITY);
                answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
                (answer, None)
            }
            Self::Gateway { error_type, message } => {
                let mut answer =
                    Answer::json(StatusCode::UNAUTHORIZED, json!({ "message": message }));
                answer.headers.insert(ERROR_TYPE, HeaderValue::from_static(error_type));
                (answer, None)
            }
            Self::Throttled => throttled(switches.retry_after_seconds),
        };
        Outcome { answer, code: code.map(|code| code.to_string()), effect: None }
    }
}

/// Observed for a sibling object: 404 with 1401; the documents' table says 1201.
fn missing(what: &str, id: i64, code: u32) -> (Answer, Option<u32>) {
    let message = if code == NOT_FOUND {
        format!("{what} with id {id} not found")
    } else {
        format!("{what} with Id '{id}' not found.")
    };
    (Answer::json(StatusCode::NOT_FOUND, error(code, &message)), Some(code))
}

/// Documented: 1400 holds the errors. A wrong type alone has its own code in the documents' table,
/// and whether it is nested as well is not documented (inferred: no, because reading comes before
/// checking; only the first is reported).
fn invalid(errors: Vec<Invalid>, format_nested: bool) -> (Answer, Option<u32>) {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let format = errors.iter().find(|error| error.code == INVALID_FORMAT);
    if let (Some(first), false) = (format, format_nested) {
        return (Answer::json(status, error(first.code, &first.message)), Some(first.code));
    }
    let mut body = error(VALIDATION_FAILED, "Input validation failed.");
    if let Some(members) = body.as_object_mut() {
        let nested: Vec<Value> =
            errors.iter().map(|nested| error(nested.code, &nested.message)).collect();
        members.insert("errors".to_owned(), nested.into());
    }
    (Answer::json(status, body), Some(VALIDATION_FAILED))
}

fn throttled(retry_after_seconds: u64) -> (Answer, Option<u32>) {
    let body = error(TOO_MANY_REQUESTS, "Too many requests.");
    let mut answer = Answer::json(StatusCode::TOO_MANY_REQUESTS, body);
    // Documented by omission: no Retry-After.
    if retry_after_seconds > 0 {
        answer.headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_seconds));
    }
    (answer, Some(TOO_MANY_REQUESTS))
}

/// The vendor's error body.
pub(super) fn error(code: u32, message: &str) -> Value {
    json!({"error_code": code, "error_token": token(code), "message": message})
}

fn token(code: u32) -> &'static str {
    match code {
        BAD_REQUEST => "BadRequest",
        1101 => "InvalidCredentials",
        1102 => "InvalidToken",
        TOKEN_EXPIRED => "TokenExpired",
        FORBIDDEN => "Forbidden",
        TOO_MANY_REQUESTS => "TooManyRequests",
        NOT_FOUND => "NotFound",
        1301 => "InvalidQueryCriteria",
        1302 => "InvalidSortCriteria",
        VALIDATION_FAILED => "InputValidationFailed",
        INVALID_REFERENCE => "InvalidReference",
        REQUIRED => "Required",
        INVALID_FORMAT => "InvalidFormat",
        DUPLICATED => "Duplicated",
        NOT_ALLOWED => "NotAllowed",
        1601 => "Unavailable",
        _ => "Unknown",
    }
}

/// The answer for a code, for any request: an HTTP status with no body, or one of the vendor's
/// codes with its usual status.
pub(super) fn any_result(code: &str, description: Option<&str>) -> Answer {
    let number: u32 = code.parse().unwrap_or(BAD_REQUEST);
    if let Some(status) = u16::try_from(number).ok().and_then(|n| StatusCode::from_u16(n).ok()) {
        return match description {
            Some(text) => Answer::json(status, json!({ "message": text })),
            None => Answer::empty(status),
        };
    }
    let status = match number {
        1101..=1103 => StatusCode::UNAUTHORIZED,
        FORBIDDEN => StatusCode::FORBIDDEN,
        TOO_MANY_REQUESTS => StatusCode::TOO_MANY_REQUESTS,
        NOT_FOUND | 1601 => StatusCode::NOT_FOUND,
        1301 | 1302 | VALIDATION_FAILED..=INVALID_FORMAT => StatusCode::UNPROCESSABLE_ENTITY,
        DUPLICATED | NOT_ALLOWED => StatusCode::CONFLICT,
        _ => StatusCode::BAD_REQUEST,
    };
    Answer::json(status, error(number, description.unwrap_or("Result of the sandbox")))
}

/// A profile as lists show it. The documents' list schema has `used_count` as a string, their
/// object as an integer.
pub(super) fn short_view(profile: &Members, used_count_as_text: bool) -> Value {
    let mut short: Members = profile
        .iter()
        .filter(|(name, _)| SHORT.contains(&name.as_str()))
        .map(|(name, member)| (name.clone(), member.clone()))
        .collect();
    if let Some(count) = profile.get("used_count") {
        let count = match count {
            Value::Number(number) if used_count_as_text => Value::String(number.to_string()),
            other => other.clone(),
        };
        short.insert("used_count".to_owned(), count);
    }
    Value::Object(short)
}
