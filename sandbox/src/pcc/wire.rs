//! PCC's wire: JSON or XML by what the client accepts, and the three shapes of errors.
//!
//! Documented: XML unless JSON is asked for; the bodies of 412, 422 and 500. Inferred: the XML
//! itself (no document shows any), and that the other errors have no body.

use std::fmt::Write as _;

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, WWW_AUTHENTICATE},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{answer::Answer, simulator::Outcome};

const HAL: &str = "application/hal+json";
const JSON: &str = "application/json";
const XML: &str = "application/xml;charset=UTF-8";

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json(&'static str),
    Xml,
}

impl Format {
    /// What `Accept` asks for. Inferred: `*/*` is ignored, and the first known type counts.
    pub(super) fn asked(headers: &HeaderMap, json_by_default: bool) -> Self {
        let usual = if json_by_default { Self::Json(JSON) } else { Self::Xml };
        headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .find_map(|range| {
                let name = range.split(';').next().unwrap_or_default().trim();
                let is = |other: &str| name.eq_ignore_ascii_case(other);
                if is(HAL) {
                    Some(Self::Json(HAL))
                } else if is(JSON) {
                    Some(Self::Json(JSON))
                } else if is("application/xml") || is("text/xml") {
                    Some(Self::Xml)
                } else {
                    None
                }
            })
            .unwrap_or(usual)
    }

    pub(super) fn answer(self, status: StatusCode, body: Value) -> Answer {
        match self {
            Self::Json(media_type) => {
                let mut answer = Answer::json(status, body);
                answer
                    .headers
                    .insert(http::header::CONTENT_TYPE, HeaderValue::from_static(media_type));
                answer
            }
            Self::Xml => Answer::literal(status, XML, &document(&body)),
        }
    }
}

/// Media types are compared without regard to case: the documents print `application/JSON`.
pub(super) fn is_json(media_type: &str) -> bool {
    let name = media_type.trim();
    name.eq_ignore_ascii_case(JSON) || name.eq_ignore_ascii_case(HAL)
}

/// What error answers carry. The first is what the documents show; the others are for testing
/// clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorBody {
    /// For 412, 422 and 500 as documented, in the format asked for; for the others nothing.
    Documented,
    /// XML for all.
    Xml,
    /// A servlet container's page for all.
    Html,
    /// Nothing for all.
    Empty,
}

/// Why a request was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A status whose body no document shows.
    Status(StatusCode),
    /// 412: fields, and what is wrong with each.
    Validation(Vec<(&'static str, String)>),
    /// 422.
    Processing(String),
}

impl Refusal {
    pub(super) fn outcome(self, format: Format, bodies: ErrorBody) -> Outcome {
        let (status, body, code) = match self {
            Self::Status(status) => (status, None, None),
            Self::Validation(errors) => {
                (StatusCode::PRECONDITION_FAILED, Some(validation(&errors)), None)
            }
            Self::Processing(message) => {
                let body = json!({"message": message, "errorCode": 1});
                (StatusCode::UNPROCESSABLE_ENTITY, Some(body), Some("1".to_owned()))
            }
        };
        let mut answer = match (bodies, body) {
            (ErrorBody::Documented, Some(body)) => format.answer(status, body),
            (ErrorBody::Documented, None) | (ErrorBody::Empty, _) => Answer::empty(status),
            (ErrorBody::Xml, body) => {
                let reason = status.canonical_reason().unwrap_or("Unknown");
                Format::Xml.answer(status, body.unwrap_or(json!({ "message": reason })))
            }
            (ErrorBody::Html, _) => Answer::page(status),
        };
        if status == StatusCode::UNAUTHORIZED {
            // Required by RFC 9110; the realm is invented.
            let challenge = HeaderValue::from_static("Basic realm=\"spcm\"");
            answer.headers.insert(WWW_AUTHENTICATE, challenge);
        }
        Outcome { answer, code, effect: None }
    }
}

fn validation(errors: &[(&str, String)]) -> Value {
    let errors: Vec<Value> = errors
        .iter()
        .map(|(field, description)| json!({"field": field, "description": description}))
        .collect();
    json!({ "errors": errors })
}

/// The answer for a status, for any request, with the documented body if there is one.
pub(super) fn any_result(code: &str, description: Option<&str>) -> Answer {
    let status = code
        .parse::<u16>()
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = match status.as_u16() {
        // Only a sibling page shows what a multistatus looks like; this one follows it.
        207 => json!({"items": [{
            "itemIndex": 0, "status": 422,
            "message": description.unwrap_or("Result of the sandbox"), "errorCode": 1,
        }]}),
        412 => validation(&[("name", description.unwrap_or("name is mandatory").to_owned())]),
        422 => {
            let message = description.unwrap_or("Subscriber max plan count exceeded");
            json!({"message": message, "errorCode": 1})
        }
        500 => {
            let usual = "Internal server error - [Failed to get session information]";
            json!({"message": description.unwrap_or(usual), "status": "error"})
        }
        _ => return Answer::empty(status),
    };
    Format::Json(JSON).answer(status, body)
}

/// The XML for a body; its root is named by what is in it.
fn document(body: &Value) -> String {
    let root = if body.get("provisioningProfileDTOList").is_some() {
        "provisioningProfileDTOList"
    } else if body.get("errors").is_some() {
        "errors"
    } else if body.get("message").is_some() {
        "error"
    } else {
        "provisioningProfileDTO"
    };
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>".to_owned();
    element(&mut text, root, body);
    text
}

/// Nesting is bounded, because the JSON reader bounds it.
fn element(text: &mut String, name: &str, value: &Value) {
    let name = if is_name(name) { name } else { "member" };
    match value {
        Value::Array(items) => items.iter().for_each(|item| element(text, name, item)),
        Value::Null => push(text, format_args!("<{name}/>")),
        Value::Object(members) => {
            push(text, format_args!("<{name}>"));
            members.iter().for_each(|(name, member)| element(text, name, member));
            push(text, format_args!("</{name}>"));
        }
        Value::String(content) => {
            push(text, format_args!("<{name}>{}</{name}>", escaped(content)));
        }
        Value::Bool(_) | Value::Number(_) => {
            push(text, format_args!("<{name}>{value}</{name}>"));
        }
    }
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(piece);
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

fn escaped(text: &str) -> String {
    let legal = |c: &char| !c.is_control() || ['\t', '\n', '\r'].contains(c);
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().filter(legal) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_decides_and_the_default_is_xml() {
        for (accept, expected) in [
            (None, Format::Xml),
            (Some("*/*"), Format::Xml),
            (Some("text/html"), Format::Xml),
            (Some("application/hal+JSON"), Format::Json(HAL)),
            (Some("application/hal+json, application/json"), Format::Json(HAL)),
            (Some("text/plain, Application/JSON;q=0.9"), Format::Json(JSON)),
            (Some("application/xml, application/json"), Format::Xml),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(Format::asked(&headers, false), expected, "{accept:?}");
        }
        assert_eq!(Format::asked(&HeaderMap::new(), true), Format::Json(JSON));
    }

    #[test]
    fn xml_is_escaped_and_named_by_its_content() {
        let list = json!({"length": 1, "provisioningProfileDTOList": [
            {"id": 1, "name": "a<&>\u{1}b", "locale": null, "1 bad": {"x": [true, false]}},
        ]});
        assert_eq!(
            document(&list),
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\
             <provisioningProfileDTOList><length>1</length><provisioningProfileDTOList><id>1</id>\
             <name>a&lt;&amp;&gt;b</name><locale/><member><x>true</x><x>false</x></member>\
             </provisioningProfileDTOList></provisioningProfileDTOList>"
        );
    }
}
