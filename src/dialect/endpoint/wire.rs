//! JSON members read leniently, and the body of an error.
//!
//! Numbers may be strings of digits, and nulls are never errors. Members that the model cannot
//! express are told apart, so that nothing is lost.

use serde_json::{Map, Value};

use crate::model::{json, number, object::Object};

/// Reads the members of an object and remembers which of them the model expresses completely.
pub(super) struct Reader<'a> {
    members: &'a Map<String, Value>,
    mapped: Vec<&'static str>,
    /// Members of which a part could not be parsed.
    odd: &'a [String],
}

impl<'a> Reader<'a> {
    pub(super) fn new(members: &'a Map<String, Value>) -> Self {
        Self { members, mapped: Vec::new(), odd: &[] }
    }

    /// The same, where the model cannot express these members completely.
    pub(super) fn without(members: &'a Map<String, Value>, odd: &'a [String]) -> Self {
        Self { odd, ..Self::new(members) }
    }

    /// A member, unless it is absent, null or rejected by `read`, which also says whether the value
    /// expresses the whole member.
    pub(super) fn part<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&'a Value) -> Option<(T, bool)>,
    ) -> Option<T> {
        let value = self.members.get(key)?;
        if value.is_null() {
            self.mapped.push(key);
            return None;
        }
        let (read, whole) = read(value)?;
        if whole && !self.odd.iter().any(|odd| odd == key) {
            self.mapped.push(key);
        }
        Some(read)
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.part(key, |value| Some((value.as_bool()?, true)))
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.part(key, |value| Some((value.as_str()?.to_owned(), true)))
    }

    pub(super) fn int(&mut self, key: &'static str) -> Option<i64> {
        self.part(key, |value| Some((int(value)?, true)))
    }

    pub(super) fn small_int(&mut self, key: &'static str) -> Option<i32> {
        self.part(key, |value| Some((int(value)?.try_into().ok()?, true)))
    }

    pub(super) fn id(&mut self, key: &'static str) -> Option<String> {
        self.part(key, |value| Some((id(value)?, true)))
    }

    /// Whether the model expresses this member completely.
    pub(super) fn is_mapped(&self, key: &str) -> bool {
        self.mapped.contains(&key)
    }

    /// Whether the model expresses all members completely; a null has nothing to lose.
    pub(super) fn is_whole(&self) -> bool {
        self.members.iter().all(|(key, value)| value.is_null() || self.is_mapped(key))
    }
}

/// A whole number, or a string of one.
pub(super) fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) if !n.is_f64() => n.as_i64(),
        // Beyond this, a double is not the number that the upstream wrote.
        Value::Number(n) => {
            number::whole(&n.to_string())?.parse().ok().filter(|n: &i64| n.abs() <= 1 << 53)
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The members of an object that can be parsed.
pub(super) fn lenient(body: &[u8]) -> Option<Map<String, Value>> {
    let object = Object::read(body)?;
    let parsed = |(key, text): (&str, &str)| Some((key.to_owned(), json::lenient(text)?.0));
    Some(object.iter().filter_map(parsed).collect())
}

/// An id in the model: the upstream's whole number, which is a Long according to its error
/// messages.
pub(super) fn id(value: &Value) -> Option<String> {
    int(value).filter(|id| *id >= 0).map(|id| id.to_string())
}

/// Whether a text is an id of the model, in canonical form.
pub(super) fn is_id(text: &str) -> bool {
    number(text).is_some()
}

/// An id on the wire.
pub(super) fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|id: &i64| *id >= 0 && id.to_string() == text)
}

/// The body of an error (page "Errors"). The platform's API gateway sends bodies with only a
/// `message`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    /// The vendor's code, even if only its token was sent.
    pub(super) code: Option<i64>,
    pub(super) message: Option<String>,
    pub(super) errors: Vec<Self>,
}

/// The vendor's codes by their tokens.
const TOKENS: [(&str, i64); 16] = [
    ("BadRequest", 1000),
    ("InvalidCredentials", 1101),
    ("InvalidToken", 1102),
    ("TokenExpired", 1103),
    ("Forbidden", 1104),
    ("TooManyRequests", 1105),
    ("NotFound", 1201),
    ("InvalidQueryCriteria", 1301),
    ("InvalidSortCriteria", 1302),
    ("InputValidationFailed", 1400),
    ("InvalidReference", 1401),
    ("Required", 1402),
    ("InvalidFormat", 1403),
    ("Duplicated", 1405),
    ("NotAllowed", 1406),
    ("Unavailable", 1601),
];

impl Fault {
    /// Reads a body; any other body gives an empty fault.
    pub(super) fn read(body: &[u8]) -> Self {
        let body = lenient(body);
        body.map_or_else(Self::default, |body| {
            let nested = body.get("errors").and_then(Value::as_array);
            Self {
                errors: nested
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_object)
                    .map(Self::flat)
                    .collect(),
                ..Self::flat(&body)
            }
        })
    }

    fn flat(body: &Map<String, Value>) -> Self {
        let token = body.get("error_token").and_then(Value::as_str);
        let by_token = TOKENS.iter().find(|(name, _)| Some(*name) == token).map(|(_, code)| *code);
        Self {
            code: body.get("error_code").and_then(int).or(by_token),
            message: body.get("message").and_then(Value::as_str).map(ToOwned::to_owned),
            errors: Vec::new(),
        }
    }
}
