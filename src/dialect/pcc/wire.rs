//! JSON objects whose values keep their original text, and the three error schemas.
//!
//! An update sends back everything that it read. Parsing would change numbers: those beyond 64 bits
//! would be rounded, and `1.0` or `1e2` would be spelled differently.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::upstream::{Reply, Unread};

/// A JSON object: keys in their order, each with the text of its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Members(Vec<(String, Box<str>)>);

impl Members {
    /// Reads a body, or says why it is not an object.
    pub(super) fn read(body: &[u8]) -> Result<Self, Unread> {
        match serde_json::from_slice(body) {
            Ok(members) => Ok(members),
            Err(_) if serde_json::from_slice::<IgnoredAny>(body).is_ok() => {
                Err(Unread::NotTheDialect)
            }
            Err(_) => Err(Unread::of(body)),
        }
    }

    /// Keys and values, in order; a value is JSON text.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// The text of a value; the last one if a key is repeated, as parsers commonly do.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(found, _)| found == key).map(|(_, text)| &**text)
    }

    /// A value; `None` if it is null, absent, or rejected by the parser (because it is nested too
    /// deeply or contains half of a surrogate pair).
    pub(super) fn value(&self, key: &str) -> Option<Value> {
        serde_json::from_str(self.text(key)?).ok().filter(|value: &Value| !value.is_null())
    }

    /// Sets a member, in its current position or at the end.
    pub(super) fn set(&mut self, key: &str, value: &Value) {
        let at = self.0.iter().position(|(found, _)| found == key);
        self.remove(key);
        // Everything before the first of them is still there, so the index exists.
        let at = at.unwrap_or(self.0.len());
        self.0.insert(at, (key.to_owned(), value.to_string().into()));
    }

    /// Removes a member.
    pub(super) fn remove(&mut self, key: &str) {
        self.0.retain(|(found, _)| found != key);
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (key, text)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:{text}", Value::from(key))?;
        }
        f.write_str("}")
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::default();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.0.push((key, value.into()));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// An integer of the upstream, which may be a string of digits, in canonical form.
pub(super) fn integer(value: &Value) -> Option<String> {
    let digits = match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number))?.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let short = digits.trim_start_matches('0');
    Some(if short.is_empty() { "0" } else { short }.to_owned())
}

/// A whole number in the spelling of one that need not be: `40.0`.
fn whole(number: &serde_json::Number) -> Option<u64> {
    let digits = number.to_string();
    let (whole, fraction) = digits.split_once('.')?;
    fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok())?
}

/// Whether this can be an id: an integer in canonical form. No counter exceeds 19 digits.
pub(super) fn is_id(id: &str) -> bool {
    (1..=19).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_digit())
        && (id == "0" || !id.starts_with('0'))
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
        let Ok(body) = Members::read(&reply.body) else {
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
