//! Error details for people: what `buf curl` prints as base64, decoded.
//!
//! buf decodes only details that are compiled into it, and does not look others up by reflection
//! (1.75).

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Map, Value, json};
use tonic::Code;

/// The name of the trailer that has a status with its details.
const TRAILER: &str = "grpc-status-details-bin";

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok());

/// An error in the JSON that `buf curl` prints, or in the value of a `grpc-status-details-bin`
/// trailer, with its details decoded. Other text is returned unchanged, so that all output can be
/// piped through.
#[must_use]
pub fn explain(printed: &str) -> String {
    if let Some(error) = trailer(printed) {
        return serde_json::to_string_pretty(&error).unwrap_or_else(|_| printed.to_owned());
    }
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

/// The status in a trailer, in the shape that `buf curl` prints. Its name may stand before the
/// value, as tools print it.
fn trailer(printed: &str) -> Option<Value> {
    let value = match printed.trim().split_once(':') {
        Some((name, value)) if name.eq_ignore_ascii_case(TRAILER) => value.trim(),
        Some(_) => return None,
        None => printed.trim(),
    };
    let status = tonic_types::pb::Status::decode(base64(value)?.as_slice()).ok()?;
    let code = Code::from_i32(status.code);
    if code as i32 != status.code || code == Code::Ok {
        return None;
    }
    let details = status.details.into_iter().map(|detail| {
        let (_, name) = detail.type_url.rsplit_once('/').unwrap_or(("", &detail.type_url));
        message(name, &detail.value).unwrap_or_else(|| {
            let value = general_purpose::STANDARD_NO_PAD.encode(&detail.value);
            json!({"type": name, "value": value})
        })
    });
    let details: Vec<Value> = details.collect();
    Some(json!({"code": words(code), "message": status.message, "details": details}))
}

/// A code as `buf curl` writes it.
fn words(code: Code) -> String {
    let mut words = String::new();
    for character in format!("{code:?}").chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

/// The bytes of either alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let decoded = general_purpose::STANDARD_NO_PAD.decode(text);
    decoded.or_else(|_| general_purpose::URL_SAFE_NO_PAD.decode(text)).ok()
}

fn decode(detail: &Value) -> Option<Value> {
    message(detail.get("type")?.as_str()?, &base64(detail.get("value")?.as_str()?)?)
}

fn message(name: &str, bytes: &[u8]) -> Option<Value> {
    let message = POOL.as_ref()?.get_message_by_name(name)?;
    let message = DynamicMessage::decode(message, bytes).ok()?;
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

    #[test]
    fn the_value_of_a_trailer_is_decoded_in_any_spelling() {
        let status = status::of(Reason::ProfileNotFound, "no such profile");
        let value = general_purpose::STANDARD.encode(status.details());
        let other = general_purpose::URL_SAFE_NO_PAD.encode(status.details());
        for printed in [
            value.clone(),
            format!("{}\n", value.trim_end_matches('=')),
            other,
            format!("grpc-status-details-bin: {value}"),
            format!("Grpc-Status-Details-Bin:{value}"),
        ] {
            let explained: Value = serde_json::from_str(&explain(&printed)).unwrap();
            assert_eq!(explained["code"], "not_found", "{printed}");
            assert_eq!(explained["message"], "no such profile");
            assert_eq!(explained["details"][0]["reason"], "PROFILE_NOT_FOUND");
        }
        for other in ["", "AAAA", "word", "other: AAAA", "grpc-status-details-bin: ?"] {
            assert_eq!(explain(other), other);
        }
    }
}
