//! The three error schemas, and how the upstream spells ids.

use serde_json::Value;

use crate::{
    model::{number, object::Object},
    upstream::{Reply, Unread},
};

/// The profile's object. An update sends back everything that it read, so it keeps the text of each
/// value.
pub(super) type Members<'a> = Object<'a>;

/// Reads a body, or says why it is not an object.
pub(super) fn members(body: &[u8]) -> Result<Members<'_>, Unread> {
    Object::read(body).ok_or_else(|| Unread::without_objects(body))
}

/// An id of the upstream: a whole number in any spelling.
pub(super) fn id(json: &str) -> Option<String> {
    number::whole(json).filter(|id| is_id(id))
}

/// Whether this can be an id: an integer in canonical form. No counter exceeds 19 digits.
pub(super) fn is_id(id: &str) -> bool {
    (1..=19).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_digit())
        && (id == "0" || !id.starts_with('0'))
}

/// Whether a body has one of the vendor's schemas of an error, with all that the schema requires.
pub(super) fn is_an_error_body(body: &[u8]) -> bool {
    let Ok(body) = members(body) else { return false };
    let is_text = |name| matches!(body.value(name), Some(Value::String(_)));
    let has_code = || matches!(body.value("errorCode"), Some(Value::Number(_)));
    matches!(body.value("errors"), Some(Value::Array(_)))
        || (is_text("message") && (has_code() || is_text("status")))
}

/// The body of an error. The vendor documents three schemas: `{"errors":[{"field",
/// "description"}]}` with 412, `{"message","errorCode"}` with 422, `{"message","status"}` with 500.
/// The other statuses have none, so every member is looked for in every body, and none is required.
#[derive(Debug, Default)]
pub(super) struct Fault {
    pub(super) message: Option<String>,
    pub(super) code: Option<String>,
    /// Upstream field and description.
    pub(super) errors: Vec<(Option<String>, Option<String>)>,
}

impl Fault {
    /// More violations than a profile has members would not help.
    const MAX_ERRORS: usize = 32;

    pub(super) fn read(reply: &Reply) -> Self {
        let Ok(body) = members(&reply.body) else {
            return Self::default();
        };
        let words = |value: Option<&Value>| value?.as_str().map(ToOwned::to_owned);
        let errors = match body.value("errors") {
            Some(Value::Array(errors)) => errors,
            _ => Vec::new(),
        };
        Self {
            message: words(body.value("message").as_ref()),
            code: match body.value("errorCode") {
                Some(Value::String(code)) => Some(code),
                // It may be negative: the vendor says integer and lists no values.
                Some(Value::Number(code)) => Some(code.to_string()),
                _ => None,
            },
            errors: errors
                .iter()
                .filter_map(Value::as_object)
                .take(Self::MAX_ERRORS)
                .map(|error| (words(error.get("field")), words(error.get("description"))))
                .collect(),
        }
    }
}
