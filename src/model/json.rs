//! JSON as protobuf's Struct, for upstream members that the model has no field for.

use std::collections::BTreeMap;

use prost_types::value::Kind as ValueKind;
use serde_json::value::RawValue;

/// How deep a Struct may nest before its members are kept as text: protobuf readers commonly stop
/// at 100 nested messages, and each JSON level costs up to three.
const MAX_STRUCT_DEPTH: usize = 16;

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
            let items: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
            let values = items.iter().map(|item| at(item.get(), depth + 1)).collect();
            return Some(ValueKind::ListValue(prost_types::ListValue { values }));
        }
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
        let fields = members.into_iter().map(|(k, v)| (k, at(v.get(), depth + 1))).collect();
        Some(ValueKind::StructValue(prost_types::Struct { fields }))
    }
    fn at(text: &str, depth: usize) -> prost_types::Value {
        let as_text = || ValueKind::StringValue(text.to_owned());
        let kind = if text.starts_with(['[', '{']) {
            let within = (depth < MAX_STRUCT_DEPTH).then(|| parts(text, depth));
            within.flatten().unwrap_or_else(as_text)
        } else {
            match serde_json::from_str(text) {
                Ok(serde_json::Value::Number(n))
                    if n.is_f64() && !text.contains(['.', 'e', 'E']) =>
                {
                    as_text()
                }
                Ok(json) => return to_value(&json),
                Err(_) => as_text(),
            }
        };
        prost_types::Value { kind: Some(kind) }
    }
    at(text.trim_ascii(), 0)
}

fn exact(number: &serde_json::Number) -> bool {
    const LIMIT: u64 = 1 << 53;
    match (number.as_u64(), number.as_i64()) {
        (Some(n), _) => n <= LIMIT,
        (None, Some(n)) => n.unsigned_abs() <= LIMIT,
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
    fn keeps_json_text_without_loss() {
        let text = r#"{"a":[1,-2.5,null,true,"x\n"],"b":{"c":18446744073709551615}, "d": 1.10e+2}"#;
        let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(of_text(text), to_value(&parsed));
        let huge = "-123456789012345678901234567890";
        for lossy in [huge, "1e999", r#""\ud800""#] {
            let kind = Some(ValueKind::StringValue(lossy.into()));
            assert_eq!(of_text(lossy).kind, kind);
            let Some(ValueKind::ListValue(list)) = of_text(&format!(" [[], {lossy} ]")).kind else {
                panic!("no list")
            };
            assert_eq!(list.values[1].kind, kind);
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let encoded = prost::Message::encode_to_vec(&of_text(&deep));
        assert!(<prost_types::Value as prost::Message>::decode(&encoded[..]).is_ok());
    }
}
