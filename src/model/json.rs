//! JSON as protobuf's Struct, for upstream members that the model has no field for.

use std::collections::BTreeMap;

use prost_types::{Struct, value::Kind as ValueKind};

use super::{
    number::digits,
    object::{self, Object},
    split,
    tree::is_short,
};

/// How deep a Struct may nest before its members are kept as text: protobuf readers commonly stop
/// at 100 nested messages, and each JSON level costs up to three.
const MAX_STRUCT_DEPTH: usize = 16;

/// What nests deeper is rejected by JSON parsers, so it is kept as text as a whole.
const MAX_PARSED_DEPTH: usize = 127;

/// The longest member that the model has no field for that is kept with its structure.
const MAX_STRUCTURED_BYTES: usize = 64 * 1024;

/// So many values the members of one profile may have together that the model has no field for: as
/// many as a request may send back.
const MAX_STRUCTURED_VALUES: usize = 4096;

/// Significant digits that a double prints. A number with more has more than a double holds.
const DOUBLE_DIGITS: usize = 17;

/// A JSON value as a protobuf one, without loss: what a double or a shallow Struct cannot hold
/// becomes its JSON text.
#[must_use]
pub fn to_value(json: &serde_json::Value) -> prost_types::Value {
    fn at(json: &serde_json::Value, depth: usize) -> prost_types::Value {
        use serde_json::Value as Json;
        let kind = match json {
            Json::Null => ValueKind::NullValue(0),
            Json::Bool(b) => ValueKind::BoolValue(*b),
            Json::String(s) => ValueKind::StringValue(s.clone()),
            Json::Number(n) => match n.as_f64().filter(|_| exact(n)) {
                Some(number) => ValueKind::NumberValue(number),
                None => ValueKind::StringValue(n.to_string()),
            },
            Json::Array(_) | Json::Object(_) if depth >= MAX_STRUCT_DEPTH => {
                ValueKind::StringValue(json.to_string())
            }
            Json::Array(items) => ValueKind::ListValue(prost_types::ListValue {
                values: items.iter().map(|item| at(item, depth + 1)).collect(),
            }),
            Json::Object(members) => ValueKind::StructValue(prost_types::Struct {
                fields: members.iter().map(|(k, v)| (k.clone(), at(v, depth + 1))).collect(),
            }),
        };
        prost_types::Value { kind: Some(kind) }
    }
    at(json, 0)
}

/// JSON text as a protobuf value: like [`to_value`], but without the losses of parsing. An integer
/// beyond 64 bits, or a value that the parser rejects (half a surrogate pair, `1e999`), becomes its
/// text.
#[must_use]
pub fn of_text(text: &str) -> prost_types::Value {
    fn parts(text: &str, depth: usize) -> Option<ValueKind> {
        if text.starts_with('[') {
            let items = split::elements(text)?;
            let values = items.into_iter().map(|item| at(item, depth + 1)).collect();
            return Some(ValueKind::ListValue(prost_types::ListValue { values }));
        }
        let members = Object::of(text)?;
        let fields = members.iter().map(|(k, v)| (k.to_owned(), at(v, depth + 1))).collect();
        Some(ValueKind::StructValue(prost_types::Struct { fields }))
    }
    fn at(text: &str, depth: usize) -> prost_types::Value {
        let as_text = || ValueKind::StringValue(text.to_owned());
        let kind = if text.starts_with(['[', '{']) {
            let within = (depth < MAX_STRUCT_DEPTH).then(|| parts(text, depth));
            within.flatten().unwrap_or_else(as_text)
        } else {
            match serde_json::from_str(text) {
                Ok(serde_json::Value::Number(n)) if n.is_f64() && !fits_double(text) => as_text(),
                Ok(json) => return to_value(&json),
                Err(_) => as_text(),
            }
        };
        prost_types::Value { kind: Some(kind) }
    }
    let text = text.trim_ascii();
    if nesting(text) > MAX_PARSED_DEPTH {
        return prost_types::Value { kind: Some(ValueKind::StringValue(text.to_owned())) };
    }
    at(text, 0)
}

/// The members of a profile that the model has no field for. The longest stay text.
#[derive(Debug, Default)]
pub struct Unmapped {
    fields: BTreeMap<String, prost_types::Value>,
    /// How many values they have at most.
    values: usize,
}

impl Unmapped {
    /// Adds a member.
    pub fn add(&mut self, key: &str, text: &str) {
        // Each value but the first comes after one of these.
        let within = text.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
        let values = self.values + 1 + within;
        let is_plain = !text.starts_with(['[', '{']);
        let is_small = text.len() <= MAX_STRUCTURED_BYTES && values <= MAX_STRUCTURED_VALUES;
        let value = if is_plain || is_small {
            of_text(text)
        } else {
            prost_types::Value { kind: Some(ValueKind::StringValue(text.to_owned())) }
        };
        self.values = if is_small && !is_plain { values } else { self.values + 1 };
        self.fields.insert(key.to_owned(), value);
    }

    /// All of them, if there are any.
    #[must_use]
    pub fn into_struct(self) -> Option<Struct> {
        (!self.fields.is_empty()).then_some(Struct { fields: self.fields })
    }
}

/// How deep arrays and objects nest.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether a double says as much as the number that it is parsed from.
fn fits_double(number: &str) -> bool {
    if let Some(whole) = digits(number) {
        return whole.parse().is_ok_and(|whole: i64| whole.unsigned_abs() <= EXACT);
    }
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let significant: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    significant.trim_matches('0').len() <= DOUBLE_DIGITS
}

/// A JSON value as far as the parser takes it, and whether that is all of it. What it rejects (half
/// of a surrogate pair, `1e999`) is left out, and so is what is too long to be built.
#[must_use]
pub fn lenient(json: &str) -> Option<(serde_json::Value, bool)> {
    fn at(json: &str, depth: usize) -> Option<(serde_json::Value, bool)> {
        if let Ok(value) = serde_json::from_str(json) {
            return Some((value, true));
        }
        if depth >= MAX_STRUCT_DEPTH {
            return None;
        }
        if json.starts_with('[') {
            let elements = object::elements(json)?;
            let values = elements.into_iter().filter_map(|text| Some(at(text, depth + 1)?.0));
            return Some((serde_json::Value::Array(values.collect()), false));
        }
        let members = Object::of(json)?;
        let values = members.iter().filter_map(|(k, v)| Some((k.to_owned(), at(v, depth + 1)?.0)));
        Some((serde_json::Value::Object(values.collect()), false))
    }
    is_short(json.as_bytes()).then(|| at(json, 0))?
}

/// Up to here a double holds every whole number.
const EXACT: u64 = 1 << 53;

fn exact(number: &serde_json::Number) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(n), _) => n <= EXACT,
        (None, Some(n)) => n.unsigned_abs() <= EXACT,
        (None, None) => number.is_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_json_without_loss() {
        let json =
            serde_json::json!({"a": [1, -2.5, null, true, "x"], "big": 18446744073709551615_u64});
        let Some(ValueKind::StructValue(value)) = to_value(&json).kind else { panic!("no struct") };
        assert_eq!(
            value.fields["big"].kind,
            Some(ValueKind::StringValue("18446744073709551615".into()))
        );
        let mut deep = serde_json::json!(1);
        for _ in 0..60 {
            deep = serde_json::json!([deep]);
        }
        let encoded = prost::Message::encode_to_vec(&to_value(&deep));
        assert!(<prost_types::Value as prost::Message>::decode(&encoded[..]).is_ok());
    }

    #[test]
    fn what_is_too_long_to_be_built_stays_text() {
        let is_text = |unmapped: Unmapped, key: &str| {
            let value = unmapped.into_struct().unwrap().fields.remove(key);
            matches!(value.unwrap().kind, Some(ValueKind::StringValue(_)))
        };
        let list = |values: usize| format!("[{}]", vec!["0"; values].join(","));
        let spaced = |bytes: usize| format!("[{}]", " ".repeat(bytes - 2));
        for (text, expected) in [
            (list(4094), false),
            (list(4096), true),
            (spaced(MAX_STRUCTURED_BYTES), false),
            (spaced(MAX_STRUCTURED_BYTES + 1), true),
        ] {
            let mut unmapped = Unmapped::default();
            unmapped.add("k", &text);
            assert_eq!(is_text(unmapped, "k"), expected, "{} bytes", text.len());
        }
        let mut many = Unmapped::default();
        for n in 0..5 {
            many.add(&format!("k{n}"), &list(1000));
        }
        let lists = many.into_struct().unwrap().fields;
        let lists = lists.values().filter(|v| matches!(v.kind, Some(ValueKind::ListValue(_))));
        assert_eq!(lists.count(), 4);
        assert_eq!(lenient(&spaced(2 * 1024 * 1024)), None);
    }

    #[test]
    fn what_the_parser_rejects_is_left_out_and_said() {
        let (value, whole) = lenient(r#"{"a":1,"b":[1,"\ud800",{"c":1e999,"d":2}]}"#).unwrap();
        assert_eq!((value, whole), (serde_json::json!({"a": 1, "b": [1, {"d": 2}]}), false));
        assert_eq!(lenient("[1]"), Some((serde_json::json!([1]), true)));
        assert_eq!(lenient("1e999"), None);
    }

    #[test]
    fn keeps_json_text_without_loss() {
        let text = r#"{"a":[1,-2.5,null,true,"x\n"],"b":{"c":18446744073709551615}, "d": 1.10e+2}"#;
        let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(of_text(text), to_value(&parsed));
        let huge = "-123456789012345678901234567890";
        for lossy in
            [huge, "123456789012345678901.0", "0.12345678901234567890", "1e999", r#""\ud800""#]
        {
            let kind = Some(ValueKind::StringValue(lossy.into()));
            assert_eq!(of_text(lossy).kind, kind);
            let Some(ValueKind::ListValue(list)) = of_text(&format!(" [[], {lossy} ]")).kind else {
                panic!("no list")
            };
            assert_eq!(list.values[1].kind, kind);
        }
        let shallow = r#"["[[{\"[",{}]"#;
        assert_eq!((nesting(shallow), nesting("1")), (2, 0));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(of_text(&deep).kind, Some(ValueKind::StringValue(deep.clone())));
        let encoded = prost::Message::encode_to_vec(&of_text(&deep));
        assert!(<prost_types::Value as prost::Message>::decode(&encoded[..]).is_ok());
    }
}
