//! Distortions of endpoint API answers that depend on what members mean.

use serde_json::{Map, Value, json};

use crate::{answer::each_member, fault_kind::FaultKind};

/// Members of a profile that may be absent.
const OPTIONAL: [&str; 9] = [
    "description",
    "allowed_nb_iot_geo",
    "apply_data_quota",
    "apply_sms_quota",
    "api_callback",
    "api_secret",
    "moc_callback",
    "dns",
    "ip_firewall_rule_set",
];

/// Refuses faults that can have no effect on this vendor.
pub(super) fn check(fault: &FaultKind) -> Result<(), String> {
    match fault {
        FaultKind::Outer { .. } | FaultKind::TotalCount { .. } => {
            Err(format!("`{}` has no effect on the endpoint API", fault.name()))
        }
        FaultKind::Result { outer: Some(_), .. } => {
            Err("the endpoint API has no outer result code".to_owned())
        }
        FaultKind::Result { code, .. } if !is_code(code) => Err(
            "`code` must be one of the vendor's codes (1000 to 9999) or an HTTP status (200 to 599)"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

fn is_code(code: &str) -> bool {
    code.parse::<u32>()
        .is_ok_and(|code| (200..=599).contains(&code) || (1_000..=9_999).contains(&code))
}

pub(super) fn apply(fault: &FaultKind, body: &mut Value) {
    match fault {
        FaultKind::Numbers {} => each_member(body, &mut |name, member| {
            // This vendor writes numbers, so the other form is a string.
            if let (true, Value::Number(number)) = (is_number_name(name), &*member) {
                *member = Value::String(number.to_string());
            }
        }),
        FaultKind::Nulls { .. } => each_root(body, |members| {
            if members.contains_key("allowed_3g") || members.contains_key("used_count") {
                for name in OPTIONAL {
                    members.entry(name).or_insert(Value::Null);
                }
            }
        }),
        FaultKind::UnknownMembers {} => each_root(body, |members| {
            let services = members.get_mut("service").and_then(Value::as_array_mut);
            for service in services.into_iter().flatten() {
                service.as_object_mut().map(add_unknown);
            }
            add_unknown(members);
        }),
        _ => {}
    }
}

fn is_number_name(name: &str) -> bool {
    ["id", "used_count", "volume", "time_units", "teleservice_code", "ip_address_version"]
        .contains(&name)
}

fn add_unknown(members: &mut Map<String, Value>) {
    members.insert("sandbox_scalar".to_owned(), json!("unknown"));
    members.insert(
        "sandbox_nested".to_owned(),
        // The names inside mean something elsewhere: a reader must go by path, not by name.
        json!({"id": -1, "name": 7, "error_code": 1406, "list": [1, null, {"used_count": "x"}]}),
    );
}

/// The object itself, or those of the array.
fn each_root(body: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    match body {
        Value::Object(members) => change(members),
        Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(change),
        _ => {}
    }
}
