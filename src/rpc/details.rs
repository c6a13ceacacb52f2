//! Error details for people: what `buf curl` prints as base64, decoded.
//!
//! buf decodes only details that are compiled into it, and does not look others up by reflection
//! (1.75).

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Map, Value};

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok());

/// An error in the JSON that `buf curl` prints, with its details decoded. Other text is returned
/// unchanged, so that all output can be piped through.
#[must_use]
pub fn explain(printed: &str) -> String {
    let Ok(mut error) = serde_json::from_str::<Value>(printed) else {
        return printed.to_owned();
    };
    let details = error.get_mut("details").and_then(Value::as_array_mut);
    for detail in details.into_iter().flatten() {
        if let Some(decoded) = decode(detail) {
            *detail = decoded;
        }
    }
    serde_json::to_string_pretty(&error).unwrap_or_else(|_| printed.to_owned())
}

fn decode(detail: &Value) -> Option<Value> {
    let name = detail.get("type")?.as_str()?;
    let value = detail.get("value")?.as_str()?.trim_end_matches('=');
    let bytes = general_purpose::STANDARD_NO_PAD.decode(value).ok()?;
    let message = POOL.as_ref()?.get_message_by_name(name)?;
    let message = DynamicMessage::decode(message, bytes.as_slice()).ok()?;
    let mut shown = Map::from_iter([("@type".to_owned(), name.into())]);
    let Value::Object(members) = serde_json::to_value(&message).ok()? else {
        return None;
    };
    shown.extend(members);
    if let Some(Value::Object(metadata)) = shown.get_mut("metadata") {
        metadata.sort_keys();
    }
    Some(shown.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Reason, rpc::status};

    #[test]
    fn details_are_decoded_and_the_rest_is_left_alone() {
        let status = status::of(Reason::Overloaded, "too much");
        let info = tonic_types::pb::ErrorInfo {
            reason: "OVERLOADED".into(),
            domain: status::DOMAIN.into(),
            ..Default::default()
        };
        let value = general_purpose::STANDARD_NO_PAD.encode(prost::Message::encode_to_vec(&info));
        let printed = serde_json::json!({"code": "unavailable", "message": status.message(),
            "details": [{"type": "google.rpc.ErrorInfo", "value": value},
                        {"type": "unknown.Type", "value": "AAAA"}, 5]});
        let explained: Value = serde_json::from_str(&explain(&printed.to_string())).unwrap();
        assert_eq!(explained["details"][0]["reason"], "OVERLOADED");
        assert_eq!(explained["details"][0]["@type"], "google.rpc.ErrorInfo");
        assert_eq!(explained["details"][1], printed["details"][1]);
        assert_eq!(explained["details"][2], 5);
        assert_eq!(explain("no JSON"), "no JSON");
    }
}
