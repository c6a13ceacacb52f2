//! Filters can name every field of the proto.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as ProtoKind, MessageDescriptor, Value};

use super::*;
use crate::{
    model::fields,
    query::field::{self, Kind, PATHS},
};

/// A message in which every field is set, each to another value.
fn full(descriptor: MessageDescriptor, count: &mut i64) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let one = value(&field, count);
        let value = if field.is_list() { Value::List(vec![one]) } else { one };
        message.set_field(&field, value);
    }
    message
}

fn value(field: &FieldDescriptor, count: &mut i64) -> Value {
    *count += 1;
    match field.kind() {
        ProtoKind::String => Value::String(format!("text {count}")),
        ProtoKind::Int32 => Value::I32(i32::try_from(*count).unwrap()),
        ProtoKind::Int64 => Value::I64(*count),
        ProtoKind::Bool => Value::Bool(true),
        ProtoKind::Enum(values) => Value::EnumNumber(values.values().last().unwrap().number()),
        ProtoKind::Message(inner) if inner.full_name() == "google.protobuf.Struct" => {
            let mut inner = DynamicMessage::new(inner);
            inner.transcode_from(&members([("key", super::Kind::BoolValue(true))])).unwrap();
            Value::Message(inner)
        }
        ProtoKind::Message(inner) => Value::Message(full(inner, count)),
        kind => panic!("filters do not know {kind:?}"),
    }
}

fn find(message: &DynamicMessage, path: &[&str]) -> Value {
    let value = message.get_field_by_name(path[0]).unwrap().into_owned();
    let value = value.as_list().map_or(value.clone(), |list| list[0].clone());
    match &path[1..] {
        [] => value,
        rest => find(value.as_message().unwrap(), rest),
    }
}

/// The field's value as a filter writes it, and another value.
fn literals(kind: &Kind, value: &Value) -> Option<(String, String)> {
    Some(match (kind, value) {
        (Kind::Text, Value::String(text)) => (format!("'{text}'"), "other".into()),
        (Kind::Number, Value::I32(n)) => (n.to_string(), (n + 1).to_string()),
        (Kind::Number, Value::I64(n)) => (n.to_string(), (n + 1).to_string()),
        (Kind::Flag, Value::Bool(_)) => ("true".into(), "false".into()),
        (Kind::Enum(values), Value::EnumNumber(n)) => {
            let name = |n| values.get_value(n).unwrap().name().to_owned();
            (name(*n), name(1))
        }
        (Kind::Message | Kind::Struct, Value::Message(_)) => return None,
        other => panic!("{other:?}"),
    })
}

#[test]
fn every_field_is_found_by_its_value() {
    let message = full(fields::descriptor().unwrap(), &mut 0);
    let full: Profile = message.transcode_to().unwrap();
    let empty = Profile::default();
    let mut scalars = 0;
    for path in PATHS.iter() {
        let ask = |condition: String| {
            let filter = filter(&condition);
            assert!(!filter.matches(&empty), "{condition} of an empty profile");
            filter.matches(&full)
        };
        assert!(ask(format!("{path} : *")), "{path}");
        let segments: Vec<&str> = path.split('.').collect();
        let kind = field::resolve(&segments).map(|field| field.kind).unwrap_or(Kind::Message);
        let Some((same, other)) = literals(&kind, &find(&message, &segments)) else { continue };
        scalars += 1;
        for operator in ["=", ":"] {
            assert!(ask(format!("{path} {operator} {same}")), "{path}");
            assert!(!ask(format!("{path} {operator} {other}")), "{path}");
        }
        assert!(!ask(format!("{path} != {same}")), "{path}");
        assert!(ask(format!("{path} != {other}")), "{path}");
        if matches!(kind, Kind::Text | Kind::Number) {
            for (operator, expected) in [("<", false), ("<=", true), (">", false), (">=", true)] {
                assert_eq!(ask(format!("{path} {operator} {same}")), expected, "{path}");
            }
        }
    }
    assert!(scalars > 55, "{scalars}");
    assert!(filter("unmapped.key = true").matches(&full));
}
