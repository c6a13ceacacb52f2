//! JSON as protobuf's Struct, for upstream members that the model has no field for.

use prost_types::value::Kind as ValueKind;

/// How deep a Struct may nest before its members are kept as text: protobuf readers commonly stop at
/// 100 nested messages, and each JSON level costs up to three.
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
}
