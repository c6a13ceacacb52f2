//! Distortions of SFT answers that depend on what members mean.

use serde_json::{Map, Value, json};

use crate::{answer::each_member, fault_kind::FaultKind};

/// Optional members of `Response` and of a profile (documented as "O").
const OPTIONAL_IN_RESPONSE: [&str; 2] = ["serviceProfile", "responseParam"];
const OPTIONAL_IN_PROFILE: [&str; 6] =
    ["profileId", "profileName", "status", "serviceName", "ratTypeName", "category"];
/// Strings that hold text and stay strings even when the text is all digits.
const TEXT: [&str; 6] = [
    "profileName",
    "profileId",
    "serviceProfile",
    "resultDescription",
    "AccessToken",
    "RefreshToken",
];

pub(super) fn apply(fault: &FaultKind, body: &mut Value) {
    match fault {
        FaultKind::Numbers {} => each_member(body, &mut |name, member| {
            if !TEXT.contains(&name) {
                into_number(member);
            }
        }),
        FaultKind::Outer { code } => {
            if let Some(outer) = body.pointer_mut("/Response/resultCode") {
                *outer = Value::String(code.clone());
            }
        }
        FaultKind::Nulls { .. } => {
            in_response(body, |response| {
                fill_with_null(response, &OPTIONAL_IN_RESPONSE);
            });
            in_profiles(body, |profile| fill_with_null(profile, &OPTIONAL_IN_PROFILE));
        }
        FaultKind::UnknownMembers {} => {
            in_profiles(body, add_unknown);
            in_response(body, add_unknown);
            // Login answers have no `Response`; beside it a member is unknown too.
            if let Some(root) = body.as_object_mut() {
                add_unknown(root);
            }
        }
        _ => {}
    }
}

/// A string of digits becomes a number, unless a leading zero would be lost.
fn into_number(member: &mut Value) {
    let Some(text) = member.as_str() else { return };
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    if let (true, Ok(number)) = (is_plain, text.parse::<u64>()) {
        *member = number.into();
    }
}

fn fill_with_null(members: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        members.entry(*name).or_insert(Value::Null);
    }
}

fn add_unknown(members: &mut Map<String, Value>) {
    members.insert("sandboxScalar".to_owned(), json!("unknown"));
    members.insert(
        "sandboxNested".to_owned(),
        // The names inside mean something elsewhere: a reader must go by path, not by name.
        json!({"resultCode": 7, "list": [1, null, {"profileId": "SP_0"}], "flag": true}),
    );
}

fn in_response(body: &mut Value, change: impl FnOnce(&mut Map<String, Value>)) {
    if let Some(response) = body.get_mut("Response").and_then(Value::as_object_mut) {
        change(response);
    }
}

fn in_profiles(body: &mut Value, change: impl Fn(&mut Map<String, Value>)) {
    let profiles = body
        .pointer_mut("/Response/responseParam/serviceProfileList")
        .and_then(Value::as_array_mut);
    for profile in profiles.into_iter().flatten() {
        if let Some(members) = profile.as_object_mut() {
            change(members);
        }
    }
}
