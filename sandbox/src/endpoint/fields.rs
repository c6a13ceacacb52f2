//! The members of create and patch requests.
//!
//! Inferred throughout: read-only and unknown members are ignored; numbers and booleans are not
//! read from strings; a null reference counts as absent, a null name counts as missing, and a null
//! description clears it.

use serde_json::{Map, Value, json};

use super::{
    catalog,
    wire::{INVALID_FORMAT, INVALID_REFERENCE, Invalid, REQUIRED, Refusal},
};
use crate::store::Members;

/// Longest name and description. The real bounds are not documented.
const MAX_NAME: usize = 256;
const MAX_DESCRIPTION: usize = 2_048;

const SWITCHES: [&str; 11] = [
    "allowed_3g",
    "allowed_4g",
    "allowed_nb_iot",
    "allowed_nb_iot_geo",
    "apply_data_quota",
    "apply_sms_quota",
    "retail",
    "sms_p2p_int",
    "sms_p2p_ext",
    "prepaid",
    "nipdp",
];

/// A member that refers to an object of the catalog.
struct Reference {
    member: &'static str,
    kind: &'static str,
    /// What messages call it.
    resource: &'static str,
    /// Whether `{"id": null}` removes it (documented for callbacks and secret only).
    clearable: bool,
}

const REFERENCES: [Reference; 6] = [
    reference("api_callback", catalog::API_CALLBACK, "ApiCallback", true),
    reference("api_secret", catalog::API_SECRET, "ApiSecret", true),
    reference("moc_callback", catalog::API_CALLBACK, "MocCallback", true),
    reference("esme_interface_type", catalog::ESME_INTERFACE_TYPE, "EsmeInterfaceType", false),
    reference("breakout_region", catalog::BREAKOUT_REGION, "BreakoutRegion", false),
    reference("dns", catalog::DNS, "Dns", false),
];

const fn reference(
    member: &'static str,
    kind: &'static str,
    resource: &'static str,
    clearable: bool,
) -> Reference {
    Reference { member, kind, resource, clearable }
}

/// A profile with nothing but the defaults (documented for the switches; inferred: the first ESME
/// interface type and breakout region, and null for what else is not given).
pub(super) fn new_profile() -> Members {
    let mut members = Map::new();
    for name in ["id", "name", "description"] {
        members.insert(name.to_owned(), Value::Null);
    }
    for name in SWITCHES {
        let on = matches!(
            name,
            "allowed_3g" | "allowed_4g" | "allowed_nb_iot" | "sms_p2p_int" | "sms_p2p_ext"
        );
        members.insert(name.to_owned(), on.into());
        if name == "apply_data_quota" {
            members.insert("apply_quota".to_owned(), false.into());
        }
    }
    members.insert("used_count".to_owned(), json!(0));
    for Reference { member, kind, .. } in REFERENCES {
        let value = match member {
            "esme_interface_type" | "breakout_region" => {
                catalog::list(kind).first().cloned().unwrap_or_default()
            }
            _ => Value::Null,
        };
        members.insert(member.to_owned(), value);
    }
    members.insert(catalog::SERVICE.to_owned(), json!([]));
    members
}

/// What a request sets, references resolved.
pub(super) fn read(body: &Members, creating: bool) -> Result<Members, Refusal> {
    let mut reading = Reading { body, set: Map::new(), errors: Vec::new() };
    reading.name(creating);
    reading.description();
    for name in SWITCHES {
        reading.switch(name);
    }
    reading.quota();
    for reference in REFERENCES {
        reading.reference(&reference);
    }
    if reading.errors.is_empty() { Ok(reading.set) } else { Err(Refusal::Invalid(reading.errors)) }
}

struct Reading<'a> {
    body: &'a Members,
    set: Members,
    errors: Vec<Invalid>,
}

impl Reading<'_> {
    fn name(&mut self, creating: bool) {
        match self.body.get("name") {
            None if !creating => {}
            Some(Value::String(name)) if name.chars().count() > MAX_NAME => {
                self.bad_format("name", &format!("String of at most {MAX_NAME} characters"));
            }
            Some(name @ Value::String(text)) if !text.trim().is_empty() => {
                self.set.insert("name".to_owned(), name.clone());
            }
            None | Some(Value::Null | Value::String(_)) => self.required("name"),
            Some(_) => self.bad_format("name", "String"),
        }
    }

    fn description(&mut self) {
        match self.body.get("description") {
            None => {}
            Some(Value::String(text)) if text.chars().count() > MAX_DESCRIPTION => {
                let expected = format!("String of at most {MAX_DESCRIPTION} characters");
                self.bad_format("description", &expected);
            }
            Some(text @ (Value::String(_) | Value::Null)) => {
                self.set.insert("description".to_owned(), text.clone());
            }
            Some(_) => self.bad_format("description", "String"),
        }
    }

    fn switch(&mut self, name: &'static str) -> Option<bool> {
        match self.body.get(name)? {
            Value::Bool(on) => {
                self.set.insert(name.to_owned(), (*on).into());
                Some(*on)
            }
            _ => {
                self.bad_format(name, "Boolean");
                None
            }
        }
    }

    /// Documented: `apply_quota` is the old name, ignored if the new one is there.
    fn quota(&mut self) {
        if !self.body.contains_key("apply_data_quota") {
            if let Some(on) = self.switch("apply_quota") {
                self.set.insert("apply_data_quota".to_owned(), on.into());
            }
        } else if let Some(on) = self.set.get("apply_data_quota").cloned() {
            self.set.insert("apply_quota".to_owned(), on);
        }
    }

    fn reference(&mut self, wanted: &Reference) {
        let Reference { member, kind, resource, clearable } = *wanted;
        let object = match self.body.get(member) {
            None | Some(Value::Null) => return,
            Some(Value::Object(object)) => object,
            Some(_) => return self.bad_format(member, "Object"),
        };
        let id = match object.get("id") {
            None => return self.required(&format!("{member}.id")),
            Some(Value::Null) if clearable => {
                self.set.insert(member.to_owned(), Value::Null);
                return;
            }
            Some(id) => id.as_i64(),
        };
        let Some(id) = id else {
            return self.bad_format(&format!("{member}.id"), "Number");
        };
        match catalog::find(kind, id) {
            Some(found) => {
                self.set.insert(member.to_owned(), found.clone());
            }
            None => self.errors.push(Invalid {
                code: INVALID_REFERENCE,
                message: format!("Invalid reference to {resource} with id {id}"),
            }),
        }
    }

    fn required(&mut self, field: &str) {
        let message = format!("ServiceProfile - {field} is required");
        self.errors.push(Invalid { code: REQUIRED, message });
    }

    fn bad_format(&mut self, field: &str, expected: &str) {
        let message = format!("ServiceProfile - {field} has invalid format: Expecting {expected}");
        self.errors.push(Invalid { code: INVALID_FORMAT, message });
    }
}
