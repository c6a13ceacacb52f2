//! SFT's wire: envelopes, and profiles as requests and reads have them.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::{
    auth::TokenPair,
    services::in_read_order,
    stamp::{response_id, timestamp},
    state::Profile,
    verdict::{Codes, Verdict, describe},
};

/// The answer with no payload.
pub(super) fn envelope(verdict: &Verdict, codes: Codes) -> Value {
    let inner = match verdict {
        Verdict::AttachedToPlan => codes.in_use,
        other => other.code(),
    };
    let outer = match verdict {
        Verdict::Unauthorized => codes.unauthorized_outer,
        other => other.outer(),
    };
    build(inner, &verdict.description(), outer)
}

/// An answer with any code. The outer one follows the documents unless given.
pub(super) fn any_result(code: &str, description: Option<&str>, outer: Option<&str>) -> Value {
    let usual_outer = match code {
        "1323" | "1325" | "1329" | "1331" | "1326" | "1330" | "10085" => "0",
        _ => "1",
    };
    build(code, description.unwrap_or(describe(code)), outer.unwrap_or(usual_outer))
}

fn build(inner: &str, description: &str, outer: &str) -> Value {
    json!({"Response": {
        "responseId": response_id(),
        "responseTimestamp": timestamp(SystemTime::now()),
        "resultCode": outer,
        "resultParam": {"resultCode": inner, "resultDescription": description},
    }})
}

pub(super) fn list_answer(profiles: Vec<Value>, codes: Codes) -> Value {
    let mut answer = envelope(&Verdict::GetSuccess, codes);
    let payload = json!({
        // A string on the wire (documented).
        "totalCount": profiles.len().to_string(),
        "serviceProfileList": profiles,
    });
    add(&mut answer, "responseParam", payload);
    answer
}

/// Documented: directly under `Response`, not in `responseParam`.
pub(super) fn add_created_id(answer: &mut Value, id: &str) {
    add(answer, "serviceProfile", id.into());
}

fn add(answer: &mut Value, name: &str, member: Value) {
    if let Some(response) = answer.get_mut("Response").and_then(Value::as_object_mut) {
        response.insert(name.to_owned(), member);
    }
}

/// Documented: no envelope, and names in PascalCase.
pub(super) fn token_answer(pair: &TokenPair) -> Value {
    json!({"AccessToken": pair.access, "RefreshToken": pair.refresh})
}

/// `Request.requestParam.serviceProfile`.
pub(super) fn profile_fields(body: &Value) -> Option<&Map<String, Value>> {
    body.pointer("/Request/requestParam/serviceProfile")?.as_object()
}

/// A profile as reads show it.
pub(super) fn read_model(id: &str, profile: &Profile) -> Value {
    let mut members = Map::new();
    members.insert("profileId".to_owned(), id.into());
    members.insert("profileName".to_owned(), profile.name.as_str().into());
    members.insert("status".to_owned(), profile.status.as_str().into());
    members
        .insert("serviceName".to_owned(), in_read_order(profile.services.clone()).join("|").into());
    // Documented: left out for a profile with NB-IoT only.
    if let Some(rat) = &profile.rat {
        members.insert("ratTypeName".to_owned(), rat.as_str().into());
    }
    members.insert("category".to_owned(), profile.category.as_str().into());
    for (name, member) in &profile.extra {
        members.insert(name.clone(), member.clone());
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_code_is_success_on_the_failures_documented_that_way() {
        let codes = Codes { in_use: "8196", unauthorized_outer: "1" };
        for (verdict, inner, outer) in [
            (Verdict::CreateFailure, "1324", "1"),
            (Verdict::ModifyFailure, "1326", "0"),
            (Verdict::DeleteFailure, "1330", "0"),
            (Verdict::RatConflict("X".to_owned()), "10085", "0"),
            (Verdict::AttachedToPlan, "8196", "1"),
            (Verdict::NoData, "1359", "1"),
            (Verdict::Unauthorized, "401", "1"),
        ] {
            let body = envelope(&verdict, codes);
            assert_eq!(body["Response"]["resultParam"]["resultCode"], inner);
            assert_eq!(body["Response"]["resultCode"], outer, "{inner}");
        }
        let codes = Codes { in_use: "1338", unauthorized_outer: "401" };
        let body = envelope(&Verdict::AttachedToPlan, codes);
        assert_eq!(body["Response"]["resultParam"]["resultCode"], "1338");
        assert_eq!(envelope(&Verdict::Unauthorized, codes)["Response"]["resultCode"], "401");
    }
}
