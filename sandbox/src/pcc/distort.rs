//! Distortions of PCC answers that depend on what members mean. Answers in XML are not distorted.

use serde_json::{Map, Value, json};

use super::state;
use crate::{answer::each_member, fault_kind::FaultKind};

/// Refuses faults that can have no effect on this vendor.
pub(super) fn check(fault: &FaultKind) -> Result<(), String> {
    match fault {
        FaultKind::Outer { .. } | FaultKind::TotalCount { .. } => {
            Err(format!("`{}` has no effect on PCC", fault.name()))
        }
        FaultKind::Result { outer: Some(_), .. } => Err("PCC has no outer result code".to_owned()),
        FaultKind::Result { code, .. }
            if !code.parse::<u16>().is_ok_and(|code| (200..=599).contains(&code)) =>
        {
            Err("PCC answers by HTTP status: `code` must be 200 to 599".to_owned())
        }
        _ => Ok(()),
    }
}

pub(super) fn apply(fault: &FaultKind, body: &mut Value) {
    match fault {
        FaultKind::Numbers {} => each_member(body, &mut |name, member| {
            // This vendor writes numbers, so the other form is a string.
            if let (true, Value::Number(number)) =
                (["id", "length", "errorCode"].contains(&name), &*member)
            {
                *member = Value::String(number.to_string());
            }
        }),
        FaultKind::Nulls { .. } => each_profile(body, |profile| {
            for name in state::TEXTS {
                profile.entry(name).or_insert(Value::Null);
            }
        }),
        FaultKind::UnknownMembers {} => {
            each_profile(body, add_unknown);
            if let Some(root) = body.as_object_mut() {
                add_unknown(root);
            }
        }
        _ => {}
    }
}

fn add_unknown(members: &mut Map<String, Value>) {
    members.insert("sandboxScalar".to_owned(), json!("unknown"));
    members.insert(
        "sandboxNested".to_owned(),
        // The names inside mean something elsewhere: a reader must go by path, not by name.
        json!({"id": -1, "name": 7, "errors": [], "list": [1, null, {"length": "x"}]}),
    );
}

/// The profiles of a list, or the one that the body is.
fn each_profile(body: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    let Some(root) = body.as_object_mut() else { return };
    if root.contains_key("defaultProfile") {
        change(root);
    } else if let Some(Value::Array(list)) = root.get_mut("provisioningProfileDTOList") {
        list.iter_mut().filter_map(Value::as_object_mut).for_each(change);
    }
}
